"""A run directory belongs to one process from the first moment."""

import json
import subprocess
import sys
import time

import pytest
from support.programs import ROOT, TINY, start_program

from keras_mt.experiments.config import Config
from keras_mt.experiments.errors import RunError
from keras_mt.experiments.running.run_directory import RunDirectory

# What `train` does before TensorFlow is imported.
CLAIM = """
import sys, time
from keras_mt.experiments import commands, errors
time.sleep(max(0, float(sys.argv[1]) - time.time()))
try:
    kept = commands.prepared("train", sys.argv[2:])  # The claim ends with its holder.
except errors.RunError as error:
    sys.exit(str(error))
print("claimed", flush=True)
sys.stdin.read()
"""


def test_of_many_processes_at_once_one_gets_a_new_folder(tmp_path):
    for attempt in range(3):
        run, at = tmp_path / str(attempt) / "run", time.time() + 2
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", CLAIM, str(at), *TINY, f"--seed={seed % 2}", f"--run_dir={run}"], cwd=ROOT,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for seed in range(4)
        ]  # fmt: skip
        losers = []
        while len(losers) < 3:
            losers += [process for process in processes if process.poll() is not None and process not in losers]
            time.sleep(0.01)
        (winner,) = [process for process in processes if process not in losers]
        for process in losers:
            assert process.returncode == 1
            assert process.stderr.read().strip() == f"--run_dir={run} is in use: another process trains in it"
        assert winner.communicate("")[0] == "claimed\n"
        assert winner.returncode == 0


@pytest.mark.parametrize(
    ("delay", "flags"),
    [
        (0, ["--seed=1"]),
        *(
            pytest.param(delay, flags, marks=pytest.mark.slow)
            for delay in (0, 0.2, 0.5, 1.5)
            for flags in ([], ["--seed=1"])
            if delay or not flags
        ),
    ],
)
def test_the_second_train_on_a_new_folder_is_refused_and_the_first_is_whole(tmp_path, delay, flags):
    run = tmp_path / "run"
    processes = [start_program("train", *TINY, f"--run_dir={run}")]
    time.sleep(delay)
    processes.append(start_program("train", *TINY, *flags, f"--run_dir={run}"))
    said = [process.communicate(timeout=300) for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 1], said
    won = [process.returncode for process in processes].index(0)
    (sentence,) = said[1 - won][1].strip().splitlines()
    assert sentence == f"error: --run_dir={run} is in use: another process trains in it"
    seed = json.loads((run / "results.json").read_text())["flags"]["seed"]
    assert seed == (1 if won and flags else 0)
    assert f"--seed={seed}" in (run / "flags.cfg").read_text().splitlines()


def test_a_claim_for_nothing_leaves_nothing(tmp_path):
    (tmp_path / "mine").mkdir()
    run = RunDirectory(str(tmp_path / "mine" / "a" / "b"))
    run.claim()
    with pytest.raises(RunError, match="is in use"):
        RunDirectory(str(run.path)).claim()
    run.release()
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]
    run.claim()
    run.flagfile.write_text("")
    run.release()
    assert {path.name for path in run.path.iterdir()} == {"flags.cfg", "lock"}
    RunDirectory(str(run.path)).claim()


def test_what_a_process_leaves_that_was_killed_while_it_claimed_is_no_obstacle(tmp_path):
    from keras_mt.experiments.config import Config

    (tmp_path / "run").mkdir()
    for name in ("lock", "flags.cfg.unfinished"):
        (tmp_path / "run" / name).write_text("--see")
    run = RunDirectory(str(tmp_path / "run"))
    run.claim()
    run.check(Config())
    run.create(Config())
    assert run.recorded() == Config()


def test_what_a_killed_process_left_half_written_goes_when_the_run_is_trained_again(tmp_path):
    """And nothing that others may have made."""
    own = [
        f"{name}.unfinished-ab_c12x9" for name in ("results.json", "curves.png", "exported_teacher", "networks.json")
    ]
    others = ["notes.unfinished-ab_c12x9", "results.json.unfinished-mine", "results.json.unfinished-by hand!"]
    for name in own + others:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "curves.png.unfinished-a_link__").symlink_to(tmp_path / "elsewhere")
    with RunDirectory(str(tmp_path)) as run:
        run.claim()
        run.create(Config())
    left = {path.name for path in tmp_path.iterdir()}
    assert left - {"lock", "flags.cfg"} == {*others, "elsewhere", "curves.png.unfinished-a_link__"}
