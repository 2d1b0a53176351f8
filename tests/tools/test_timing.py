import pytest
from support.programs import ROOT


@pytest.fixture
def timing(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from benchmarks import timing

    clock = [100.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    return timing, clock


def test_a_part_that_takes_too_long_leaves_less_for_those_after_it(timing):
    timing, clock = timing
    left = timing.TimeLeft(600.0, {"start": 2, "steps": 6, "small": 2})
    assert left.of("start") == 120.0
    clock[0] += 300.0
    assert left.of("steps") == 225.0
    clock[0] += 400.0
    assert left.of("small") == 0.0


def test_no_turn_begins_that_would_end_too_late_once_there_are_three(timing):
    timing, clock = timing

    def action():
        clock[0] += 10.0

    assert len(timing.interleaved({"a": action}, 20, 75.0)["a"]) == 6  # And the first, which is not counted.
    assert len(timing.interleaved({"a": action}, 20, 0.0)["a"]) == 3
    assert len(timing.interleaved({"a": action}, 5, 1e9)["a"]) == 5
