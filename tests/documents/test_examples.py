"""Examples run as they stand; their figures take minutes and are in the guide."""

import importlib.util
import re

import numpy as np
import pytest
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


def test_the_example_of_two_domains_prints_errors_of_each_method_on_the_target(monkeypatch, capsys):
    example = example_of("domain_adaptation")
    source = example.digits()
    darker = tuple((-images, classes) for images, classes in source)
    monkeypatch.setattr(example, "mnist", lambda data_dir: darker)
    example.main(["--seeds=0,1", "--steps=2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "digits_to_mnist: 1198 labeled, 1198 unlabeled and 599 test pictures, 2 steps"
    assert [line.split(":")[0] for line in lines[2:]] == ["seed 0", "seed 1", "mean", "std"]
    first, second, mean = (np.array([float(n) for n in re.findall(r"\d+\.\d", line)]) for line in lines[2:5])
    assert len(mean) == 2 * len(example.METHODS)
    np.testing.assert_allclose(mean, (first + second) / 2, atol=0.11)
    assert ((mean > 0) & (mean < 100)).all()


def test_the_teacher_of_the_example_has_the_targets_statistics_and_the_supervised_network_the_sources():
    example = example_of("domain_adaptation")
    source, _ = example.digits()
    target = source[0] + 5.0
    means = {name: example.train(name, 0, source, target, 30) for name in example.METHODS}
    first = {name: float(np.abs(model.teacher.layers[2].moving_mean).mean()) for name, model in means.items()}
    assert min(first["statistics"], first["mean_teacher"]) > 3 * first["supervised"]
