"""Each file that a program reads, damaged in every way that is generated: taken or refused in one sentence, by name."""

import contextlib
import json
import shutil

import numpy as np
import pytest
from support import damages
from support.programs import TINY

from keras_mt.errors import ArgumentError
from keras_mt.experiments import flagging
from keras_mt.experiments.config import Config
from keras_mt.experiments.datasets import decoded_cache, zca_cache
from keras_mt.experiments.datasets.labels_file import read_labels_file
from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.reading import DamagedFileError
from keras_mt.experiments.reporting.runs import read_runs
from keras_mt.experiments.running import checkpoint_files, saved_networks
from keras_mt.experiments.running.checkpoint_files import Identity
from keras_mt.experiments.running.evaluation_rows import read_rows
from keras_mt.experiments.running.results import read_results
from keras_mt.experiments.running.run_directory import RunDirectory
from keras_mt.experiments.running.sweeps import read_sweep


@pytest.fixture
def run(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "run")


def refused(path, read, damaged, named=None, *, may_be_sound=(), refusals=(RunError, UsageError, ArgumentError)):
    """Writes each damage and reads; returns how many were refused. Whatever else is raised ends the test."""
    count, taken = 0, []
    for name, content in damaged:
        path.write_bytes(content)
        try:
            read(path)
            taken.append(name)
        except refusals as error:
            sentence = str(error)
            assert (named or path.name) in sentence, (name, sentence[:1000])
            assert len(sentence) < 1000, (name, sentence[:1000])
            assert sentence.isprintable(), (name, sentence)
            count += 1
    for name in may_be_sound:
        taken = [other for other in taken if name not in other]
    assert not taken, taken
    return count


def test_a_damaged_results_json_is_named(run):
    path = run / "results.json"
    # Fields that a version did not write, and flags, may be missing or another: `flags` says what a run was.
    sound = ("('flags', ", "('versions', ", "('method',)", "('num_labels',)", "('replicas',)", "('experiment',)")
    sound += ("('lowest_teacher_error'", "('data',) is missing", "('data',) is ''", "('data',) is 'text'")
    sound += ("('machine', '", "('machine',) is missing", "('machine',) is {}", "('seconds_per_step',) is missing")
    sound += ("('versions',) is", "('chance',) is missing", "is 3.5", "is 1000000", "is True")
    assert refused(path, read_results, damages.of_json(path.read_text()), may_be_sound=sound) > 150


@pytest.mark.parametrize("flag", ["method", "width", "phase", "batch_size", "seed", "dataset", "num_labels"])
@pytest.mark.parametrize("value", [[], {}, "\n", float("nan"), {"a": 1}])
def test_a_flag_of_another_kind_in_results_json_is_named(run, flag, value):
    path = run / "results.json"
    content = json.loads(path.read_text())
    content["flags"][flag] = value
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match=rf"results.json is damaged.*({flag}|NaN)"):
        read_runs([str(run)])


def test_a_damaged_evaluations_csv_is_named_with_its_line(run):
    path = run / "evaluations.csv"
    sound = path.read_text()
    lines = sound.splitlines()

    def with_cell(line, column, value):
        cells = lines[line].split(",")
        cells[column] = value
        return "\n".join([*lines[:line], ",".join(cells), *lines[line + 1 :], ""]).encode()

    def each():
        for line in range(1, len(lines)):
            for column in range(3):
                for value in ("nan", "inf", "-1", "x", "", "1e999", "0x10", "\u0660\u0661.", "101e1"):
                    yield f"{line}, {column}: {value}", with_cell(line, column, value)
            yield f"{line} is cut", "\n".join([*lines[:line], lines[line].rpartition(",")[0], ""]).encode()
            yield f"{line} twice", "\n".join([*lines[: line + 1], *lines[line:], ""]).encode()

    may = ("empty", "0: 101e1")
    assert refused(path, read_rows, [*damages.of_text(sound), *each()], may_be_sound=may) > 90
    path.write_bytes(with_cell(3, 2, "nan"))
    with pytest.raises(DamagedFileError, match=r"evaluations.csv is damaged: line 4: teacher_error is nan"):
        read_rows(path)
    path.write_text(sound.rstrip("\n")[:-3])
    with pytest.raises(DamagedFileError, match=r"line 4: it was cut off"):
        read_rows(path)
    path.write_bytes(b"\xef\xbb\xbf" + sound.encode())
    assert [row["step"] for row in read_rows(path)] == [5, 10, 12]


def test_a_damaged_networks_json_is_named(run):
    path = run / "networks.json"
    content = json.loads(path.read_text())
    # Of a whole network only what is around it: its rebuilding is Keras'.
    small = {**content, "student": {}, "teacher": {}}
    cases = [*damages.of_json(json.dumps(small))]
    assert refused(path, lambda _: saved_networks.load(RunDirectory(str(run)), "teacher"), cases) > 150
    teacher = content["teacher"]
    for key in ("module", "class_name", "config", "registered_name"):
        for wrong in (None, [], 3, "os.system", {}):
            path.write_text(json.dumps({**content, "teacher": {**teacher, key: wrong}}))
            with contextlib.suppress(DamagedFileError):  # Keras may do without it.
                saved_networks.load(RunDirectory(str(run)), "teacher")
    path.write_text(json.dumps({**content, "class_names": ["cat", "dog"]}))
    with pytest.raises(RunError, match=r"class_names has 2 names for 10 outputs"):
        saved_networks.load(RunDirectory(str(run)), "teacher")


def test_a_damaged_record_of_a_checkpoint_is_damage_or_of_something_else(run):
    checkpoints = run / "checkpoints"
    for step in (4, 8):
        shutil.rmtree(checkpoints / f"step-{step}")
    path = checkpoints / "step-12" / "experiment.json"
    sound = path.read_text()
    identity = Identity(RunDirectory(str(run)).recorded().identity(), tuple("0123456789"), None, 12)
    # A flag may have come with a later version. The data are not looked at here.
    sound_ones = ("('flags', ", *(f"('data', '{key}')" for key in ("fingerprint", "content", "evaluation")))

    def read(path):
        checkpoint_files.read_newest(checkpoints, identity, {}, all_of_it=False)

    cases = [(name, content) for name, content in damages.of_json(sound) if "('flags', " not in name]
    assert refused(path, read, cases, "step-12", may_be_sound=sound_ones) > 100


def test_a_damaged_flags_cfg_is_named(run):
    path = run / "flags.cfg"
    sound = path.read_text()
    cases = [*damages.of_text(sound)]
    lines = ("x", "--x", "--seed=x", "--seed", "--width=nan")
    cases += [(f"line {line!r}", f"{sound}{line}\n".encode()) for line in lines]
    may = ("empty", "cut off", "its lines twice")
    assert refused(path, lambda _: RunDirectory(str(run)).recorded(), cases, may_be_sound=may) > 8
    path.write_bytes(b"\xef\xbb\xbf" + sound.encode())
    assert RunDirectory(str(run)).recorded().num_labels == "50"


SWEEP = '[[grid]]\nflagfile = "tiny.cfg"\nseeds = [1]\nset = { flip = true }\nvary = { method = ["pi"] }\n'


def test_a_damaged_sweep_file_is_named(tmp_path):
    (tmp_path / "tiny.cfg").write_text("\n".join(TINY))
    (tmp_path / "sweeps").mkdir()
    path = tmp_path / "sweeps" / "grid.toml"
    wrong = ("3", "[1]", "{}", '""', "1.5", "true", "[]", "[[]]", "{a = []}", "1979-05-27", "nan")
    cases = [*damages.of_text(SWEEP), ("grid", b"grid = [1]\n"), ("grid", b"grid = 3\n")]
    for line in SWEEP.splitlines()[1:]:
        name = line.partition(" ")[0]
        cases += [(f"{name} is {value}", SWEEP.replace(line, f"{name} = {value}").encode()) for value in wrong]
    for value in ("[1]", "{a = 1}", "1979-05-27"):
        cases += [(f"set.width is {value}", SWEEP.replace("flip = true", f"width = {value}").encode())]
        cases += [(f"vary.width has {value}", SWEEP.replace('method = ["pi"]', f"width = [{value}]").encode())]
    for seed in ("set = { seed = 1 }", "vary = { seed = [1, 2] }"):
        cases += [(seed, f'[[grid]]\nflagfile = "tiny.cfg"\n{seed}\n'.encode())]
    may = ("seeds is [1]", "set is {}", "vary is {}", "cut off", "set is {a = []}", 'flagfile is ""')
    assert refused(path, read_sweep, cases, may_be_sound=may) > 40


def test_the_split_of_a_sweep_can_be_set_and_a_value_is_no_folder(tmp_path):
    path = tmp_path / "grid.toml"
    values = 'set = { data_seed = 5, labels_file = "../a/b" }'
    path.write_text(f'[[grid]]\nflagfile = "tiny.cfg"\nseeds = [1, 2]\n{values}\n')
    runs = read_sweep(path)
    for seed, run in zip((1, 2), runs, strict=True):
        assert {"--data_seed=5", f"--seed={seed}"} <= set(run.arguments)
    assert [run.name.count("/") for run in runs] == [1, 1]


def test_a_damaged_list_of_labels_is_named(tmp_path):
    names = np.array(["a/1.png", "b/2.png"])
    path = tmp_path / "labels.txt"

    def read(path):
        return read_labels_file(str(path), names, np.array([0, 1]), ("a", "b"))

    def in_sentence(path):
        try:
            read(path)
        except ArgumentError as error:
            raise UsageError(str(error).splitlines()[0]) from error

    may = ("cut off",)
    assert refused(path, in_sentence, damages.of_text("a/1.png a\nb/2.png b\n"), may_be_sound=may) >= 8
    path.write_bytes(b"\xef\xbb\xbfa/1.png a\r\n")
    assert read(path).tolist() == [0]


def test_a_damaged_cache_is_made_anew(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3)).astype("uint8")
    labels = np.arange(20, dtype="int32")

    def read():
        return decoded_cache.read_split(tmp_path, "set/train", "", lambda: [(images, labels)])

    read()
    (path,) = tmp_path.glob("decoded-*/description.json")
    sound = path.read_text()
    for _, content in damages.of_json(sound):
        path.write_bytes(content)
        found = read()
        np.testing.assert_array_equal(found[0], images)
        np.testing.assert_array_equal(found[1], labels)
        assert path.read_text() == sound or content == b""
    expected = zca_cache.cached_zca(images, tmp_path)
    (path,) = tmp_path.glob("zca-*.npz")
    with np.load(path) as file:
        source = file["source"]
    for mean, matrix in (
        (expected[0][1:], expected[1]),
        (expected[0], expected[1] * np.nan),
        (expected[0] * np.nan, expected[1]),
        (expected[0].astype(str), expected[1].astype(str)),
        (3, 3),
    ):
        np.savez(path, mean=mean, matrix=matrix, source=source)
        for found, wanted in zip(zca_cache.cached_zca(images, tmp_path), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    with path.open("wb") as file:
        np.save(file, expected[1])
    np.testing.assert_array_equal(zca_cache.cached_zca(images, tmp_path)[1], expected[1])
    for _, content in damages.of_text("PK"):
        path.write_bytes(content)
        np.testing.assert_array_equal(zca_cache.cached_zca(images, tmp_path)[1], expected[1])


def test_a_flagfile_is_read_in_utf8(tmp_path):
    path = tmp_path / "a.cfg"
    path.write_bytes("--dataset=größe\n".encode())
    assert flagging.parse([Config], [f"--flagfile={path}"]).options[0].dataset == "größe"
