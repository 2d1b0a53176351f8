"""The examples with several outputs run as they stand; their figures take minutes and are in the guide."""

import importlib.util

import numpy as np
import pytest
from support.programs import ROOT


@pytest.mark.parametrize("name", [pytest.param("sound_events", marks=pytest.mark.slow), "two_tasks"])
def test_an_example_trains_and_measures_both_of_its_outputs(name, monkeypatch):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    for setting, value in {"STEPS": 2, "UNLABELED": 60, "TEST": 20}.items():
        monkeypatch.setattr(example, setting, value)
    results = example.train("mean_teacher", 0)
    assert len(results) >= 2
    assert np.isfinite(results).all()
    assert min(results[0], results[-1]) > 0
