import numpy as np
import pytest
import tensorflow as tf
from support.programs import in_process

from keras_mt.experiments.datasets.digits import load_digits
from keras_mt.experiments.running import saved_networks
from keras_mt.experiments.running.run_directory import RunDirectory


@pytest.fixture(scope="session")
def images():
    """200 real pictures, uint8 [200, 16, 16, 1]."""
    (_, _), (pictures, _) = load_digits(16)
    return pictures[:200]


@pytest.fixture(scope="session")
def expected(tiny_run, images):
    network = saved_networks.load(RunDirectory(str(tiny_run)), "teacher").network
    return tf.nn.softmax(network.predict(images.astype("float32"), verbose=0)).numpy()


@pytest.fixture(scope="session")
def exported(tiny_run, once):
    """Exports once in each format and returns the folder."""

    def export(folder):
        folder.mkdir()
        for name in ("saved_model", "onnx", "litert"):
            status, _, stderr = in_process(
                "export", f"--run_dir={tiny_run}", f"--format={name}", f"--output={folder / name}"
            )
            assert status == 0, stderr

    return once("exports", export)


@pytest.fixture(scope="session")
def saved_model(exported):
    return tf.saved_model.load(str(exported / "saved_model" / "1"))


@pytest.fixture(scope="session")
def predicted(tiny_run, tmp_path_factory):
    """What `predict` says of pictures of all kinds: from the name of each to its probabilities, of four digits."""
    from support.pictures import all_kinds

    folder = tmp_path_factory.mktemp("pictures")
    for name, content in all_kinds().items():
        (folder / name).write_bytes(content)
    status, stdout, stderr = in_process("predict", f"--run_dir={tiny_run}", "--all_probabilities", folder)
    assert status == 0, stderr
    rows = [line.split(",") for line in stdout.splitlines()[1:]]
    assert {row[0] for row in rows} == {str(folder / name) for name in all_kinds()}
    found = {row[0].rpartition("/")[2]: np.array(row[3:], "float64") for row in rows}
    assert all(int(row[1]) == found[row[0].rpartition("/")[2]].argmax() for row in rows)
    assert np.ptp(list(found.values()), axis=0).max() > 0.01  # They are told apart.
    return found
