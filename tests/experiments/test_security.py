"""Nothing that a user may have been sent runs code when it is loaded, or touches files outside its folder."""

import json
import os
import pickle
import shutil
import zipfile

import keras
import numpy as np
import pytest
from support.networks import small_convnet
from support.programs import TINY, in_process, run_program

import keras_mt
from keras_mt.experiments.datasets import decoded_cache, zca_cache


class Malicious:
    """What unpickling turns into a command."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.system, (f"touch {self.proof}",)


@pytest.fixture
def proof(tmp_path):
    """A file that exists after the test if something was run."""
    path = tmp_path / "was_run"
    yield path
    assert not path.exists()


def test_the_malicious_pickle_works_where_pickles_are_loaded(tmp_path):
    pickle.loads(pickle.dumps(Malicious(tmp_path / "was_run")))
    assert (tmp_path / "was_run").exists()


def test_a_pickle_in_a_checkpoint_is_damage_and_lists_of_checkpoints_are_not_followed(tiny_run, tmp_path, proof):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    checkpoints = run / "checkpoints"
    for name in ("state.index", "state.data-00000-of-00001", "experiment.json"):
        (checkpoints / "step-12" / name).write_bytes(pickle.dumps(Malicious(proof)))
    (tmp_path / "precious.index").write_text("not a checkpoint")
    # TensorFlow's own manager would delete what such a file names when it makes room.
    names = "".join(f'all_model_checkpoint_paths: "{tmp_path}/precious"\n' for _ in range(9))
    (checkpoints / "checkpoint").write_text(f'model_checkpoint_path: "{tmp_path}/precious"\n{names}')
    process = in_process("train", *TINY, f"--run_dir={run}")
    assert process.returncode == 0, process.stderr
    assert "step-8 is used instead" in process.stderr
    assert (tmp_path / "precious.index").read_text() == "not a checkpoint"


def test_a_keras_file_with_code_in_it_is_refused(tmp_path, proof):
    student = keras.Sequential(
        [keras.Input((4,)), keras.layers.Lambda(lambda x: x + 0 * os.system("true")), keras.layers.Dense(3)]
    )
    student.save(tmp_path / "student.keras")
    with pytest.raises(ValueError, match=r"safe_mode"):
        keras.models.load_model(tmp_path / "student.keras")


def test_a_keras_file_that_names_a_function_to_call_is_refused(tmp_path, proof):
    model = keras_mt.MeanTeacher(small_convnet())
    model.compile()
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(content["config.json"])
    config["config"]["consistency"] = {
        "module": "os", "class_name": "function", "config": "system", "registered_name": "function",
    }  # fmt: skip
    content["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "evil.keras", "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    with pytest.raises((ValueError, TypeError)):
        keras.models.load_model(tmp_path / "evil.keras")


def test_pickles_in_numpy_files_are_damage(tmp_path, proof):
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3)).astype("uint8")
    labels = np.zeros(20, "int32")
    decoded_cache.read_split(tmp_path, "set/train", "", lambda: [(images, labels)])
    (path,) = tmp_path.glob("decoded-*/labels.npy")
    np.save(path, np.array([Malicious(proof)] * 20, dtype=object), allow_pickle=True)
    again = decoded_cache.read_split(tmp_path, "set/train", "", lambda: [(images, labels)])
    np.testing.assert_array_equal(again[1], labels)

    expected = zca_cache.cached_zca(images, tmp_path)
    (path,) = tmp_path.glob("zca-*.npz")
    np.savez(path, mean=np.array([Malicious(proof)], dtype=object), matrix=np.array([Malicious(proof)], dtype=object))
    np.testing.assert_array_equal(zca_cache.cached_zca(images, tmp_path)[1], expected[1])


@pytest.mark.parametrize(
    "line", ["--width=__import__('os').system('touch {}')", "--width=$(touch {})", "--width=`touch {}`"]
)
def test_a_flagfile_is_text_and_nothing_in_it_is_evaluated(tmp_path, proof, line):
    (tmp_path / "flags.cfg").write_text(line.format(proof) + "\n")
    process = run_program("train", f"--flagfile={tmp_path / 'flags.cfg'}", f"--run_dir={tmp_path / 'run'}")
    assert process.returncode == 2
    assert "--width=" in process.stderr


def test_evaluating_a_run_that_was_sent_loads_no_saved_model_and_writes_nowhere_else(tiny_run, tmp_path, proof):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    for path in run.glob("exported_teacher/*.pb"):
        path.write_bytes(pickle.dumps(Malicious(proof)))
    with open(run / "flags.cfg", "a") as file:
        file.write(f"--run_dir={tmp_path / 'elsewhere'}\n--cache_dir={tmp_path / 'elsewhere'}\n")
    process = in_process("evaluate", f"--run_dir={run}")
    assert process.returncode == 0, process.stderr
    assert "teacher" in process.stdout
    assert not (tmp_path / "elsewhere").exists()
