import json
import shutil
import signal
import sys
import time

import pytest
from support.programs import TINY, run_program, same_run, start_program

from keras_mt.experiments import commands
from keras_mt.experiments import sweep as sweep_program
from keras_mt.experiments.config import Config
from keras_mt.experiments.errors import UsageError
from keras_mt.experiments.running.sweeps import PlannedRun, read_sweep

GRID = """
[[grid]]
flagfile = "tiny.cfg"
seeds = [1]
vary = { method = ["mean_teacher", "supervised"] }
"""
FOLDERS = [f"tiny,method={method}/seed=1" for method in ("mean_teacher", "supervised")]


@pytest.fixture
def sweep(tmp_path):
    """A sweep file of two small runs beside its flagfile."""
    (tmp_path / "flags" / "sweeps").mkdir(parents=True)
    (tmp_path / "flags" / "tiny.cfg").write_text("\n".join(TINY) + "\n")
    path = tmp_path / "flags" / "sweeps" / "grid.toml"
    path.write_text(GRID)
    return path


def run_sweep(path, *flags):
    return run_program("sweep", f"--sweep={path}", f"--runs={path.parents[2] / 'runs'}", *flags)


def test_a_sweep_is_all_combinations_and_seeds(sweep):
    runs = read_sweep(sweep)
    assert [run.name for run in runs] == FOLDERS
    flagfile = sweep.parents[1] / "tiny.cfg"
    assert runs[0].arguments == (f"--flagfile={flagfile}", "--method=mean_teacher", "--seed=1", "--data_seed=1")


def test_flags_vary_together_and_are_set_for_all(sweep):
    sweep.write_text(
        '[[grid]]\nflagfile = "tiny.cfg"\nset = { flip = true }\n'
        'vary = { "translate, input_noise" = [[0, 0.0], [2, 0.1]], num_heads = [1, 2] }\n'
    )
    assert [run.name for run in read_sweep(sweep)] == [
        f"tiny,flip=true,{moved},num_heads={heads}/seed=0"
        for moved in ("translate=0,input_noise=0.0", "translate=2,input_noise=0.1")
        for heads in (1, 2)
    ]


def test_true_is_a_value_for_a_flag_that_is_not_boolean(sweep):
    sweep.write_text('[[grid]]\nflagfile = "tiny.cfg"\nseeds = [2]\nset = { jit_compile = true, flip = true }\n')
    (run,) = read_sweep(sweep)
    assert run.name == "tiny,jit_compile=true,flip=true/seed=2"
    config = run.config()
    assert (config.jit_compile, config.flip, config.seed) == ("true", True, 2)


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("", "holds no \\[\\[grid\\]\\]"),
        ("[[grid]\n", "can't be read as a sweep file"),
        ("[[grid]]\nseeds = [1]\n", "lacks its flagfile"),
        ('[[grid]]\nflagfile = "tiny.cfg"\nseed = 1\n', "'seed' is none of"),
        ('[[grid]]\nflagfile = "tiny.cfg"\nseeds = 3\n', "seeds=3 must be a list"),
        ('[[grid]]\nflagfile = "tiny.cfg"\nvary = { method = "pi" }\n', "vary.method must be a list"),
        ('[[grid]]\nflagfile = "tiny.cfg"\nvary = { "flip, width" = [[true]] }\n', "needs lists of 2 values"),
        ('[[grid]]\nflagfile = "tiny.cfg"\n' * 2, "two runs that are the same"),
        ('[[grid]]\nflagfile = "tiny.cfg"\nset = { width = 0.1 }\nvary = { width = [0.2] }\n', "width is given twice"),
        (
            '[[grid]]\nflagfile = "tiny.cfg"\nvary = { width = [0.2], "flip,width" = [[true, 1]] }\n',
            "width is given twice",
        ),
        ('[[grid]]\nflagfile = "tiny.cfg"\nvary = { run_dir = ["a"] }\n', "run_dir is given by --runs"),
    ],
)
def test_a_wrong_sweep_file_is_named(sweep, text, culprit):
    sweep.write_text(text)
    with pytest.raises(UsageError, match=f"--sweep=.*{culprit}"):
        read_sweep(sweep)


@pytest.mark.parametrize(
    "vary",
    [
        "max_consistency_weight = [1, 1.0]", 'flip = [true, "1"]', 'cache_dir = ["a", "b"]',
        "checkpoint_steps = [4, 5]", 'preprocessing = ["auto", "auto"]',
    ],
)  # fmt: skip
def test_an_experiment_that_is_planned_twice_is_refused_and_both_are_named(sweep, vary):
    sweep.write_text(f'[[grid]]\nflagfile = "tiny.cfg"\nvary = {{ {vary} }}\n')
    name = vary.partition(" ")[0]
    with pytest.raises(UsageError, match=f"two runs that are the same: .*{name}="):
        commands.prepared("sweep", [f"--sweep={sweep}"])


def test_what_results_hang_on_may_vary(sweep):
    sweep.write_text('[[grid]]\nflagfile = "tiny.cfg"\nvary = { onednn = ["true", "false"], data_seed = [0, 1] }\n')
    (planned,) = commands.prepared("sweep", [f"--sweep={sweep}"])
    assert len(planned) == 4


def test_two_sweeps_of_one_name_are_refused_and_a_run_in_common_is_not(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree("flags", "other")
    (tmp_path / "other" / "tiny.cfg").write_text("\n".join([*TINY, "--seed=3"]))
    for second in (sweep, "other/sweeps/grid.toml"):
        with pytest.raises(UsageError, match=f"--sweep={sweep} and --sweep={second} have the same folder for a run"):
            commands.prepared("sweep", [f"--sweep={sweep}", f"--sweep={second}"])
    second = sweep.rename(sweep.with_name("second.toml"))
    (planned,) = commands.prepared("sweep", [f"--sweep={second}", "--sweep=other/sweeps/grid.toml"])
    assert len(planned) == 4


def test_a_sweep_file_can_be_named_from_its_own_folder(sweep, monkeypatch):
    for folder, name in ((sweep.parent, "grid.toml"), (sweep.parents[1], "sweeps/grid.toml")):
        monkeypatch.chdir(folder)
        (planned,) = commands.prepared("sweep", [f"--sweep={name}", "--runs=../runs"])
        assert len(planned) == 2


@pytest.mark.parametrize("shard", ["0/2", "3/2", "01/2", "1/02", "\u0661/2", "1", "/"])
def test_a_wrong_shard_is_named(sweep, shard):
    with pytest.raises(UsageError, match=f"--shard={shard} must be i/n"):
        commands.prepared("sweep", [f"--sweep={sweep}", f"--shard={shard}"])


@pytest.mark.slow
def test_wrong_flags_are_found_before_the_first_run_starts(sweep):
    sweep.write_text(GRID.replace('"supervised"]', '"supervised", "nonsense"]'))
    for flags, culprit in (
        ((), "method=nonsense"),
        (("--shard=3/2",), "--shard=3/2"),
        (("--method=pi",), "--method varies in --sweep="),
        (("--run_dir=x",), "--run_dir=x names one run"),
    ):
        process = run_sweep(sweep, *flags)
        assert process.returncode == 2
        assert culprit in process.stderr.strip().splitlines()[-1]
        assert "Traceback" not in process.stderr
    assert not (sweep.parents[2] / "runs").exists()


@pytest.mark.parametrize(("ending", "status"), [("kill -TERM $$", 143), ("exit 143", 143), ("exit 130", 130)])
def test_a_run_that_was_ended_before_its_first_step_is_not_said_to_be_saved(
    tmp_path, monkeypatch, capfd, ending, status
):
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{ending}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(SystemExit) as ended:
        sweep_program.main([(PlannedRun(str(tmp_path / "run"), tmp_path / "tiny.cfg", {}), Config())])
    assert ended.value.code == status
    assert capfd.readouterr().err == f"{tmp_path / 'run'} was interrupted; the same command continues the sweep\n"


@pytest.mark.slow
def test_shards_share_the_runs_and_what_is_done_is_skipped(sweep, tmp_path):
    runs = tmp_path / "runs" / "grid"
    first = run_sweep(sweep, "--shard=1/2")
    assert first.returncode == 0, first.stderr
    assert sorted(path.parent.relative_to(runs).as_posix() for path in runs.rglob("results.json")) == FOLDERS[::2]
    second = run_sweep(sweep, "--shard=2/2")
    assert second.returncode == 0, second.stderr
    assert all((runs / folder / "results.json").exists() for folder in FOLDERS)
    again = run_sweep(sweep)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("is done") == 2
    assert "all 2 runs are done" in again.stdout

    # A run that can't be finished is named, and the others go on.
    damaged = runs / FOLDERS[0]
    (damaged / "results.json").unlink()
    (damaged / "evaluations.csv").write_text("step,student_error\nfive,1\n")
    shutil.rmtree(runs / FOLDERS[1])
    process = run_sweep(sweep)
    assert process.returncode == 1
    sentence = process.stderr.strip().splitlines()[-1]
    assert sentence.startswith("error: 1 of 2 runs failed: ")
    assert FOLDERS[0] in sentence
    assert "evaluations.csv is damaged" in sentence
    assert (runs / FOLDERS[1] / "results.json").exists()


@pytest.mark.slow
def test_a_sweep_that_was_told_to_end_saves_and_continues_to_the_same_weights(sweep, tmp_path):
    sweep.write_text('[[grid]]\nflagfile = "tiny.cfg"\n')
    long = ("--training_steps=100", "--evaluation_steps=50")
    undisturbed = run_program("sweep", f"--sweep={sweep}", f"--runs={tmp_path / 'whole'}", *long)
    assert undisturbed.returncode == 0, undisturbed.stderr
    process = start_program("sweep", f"--sweep={sweep}", f"--runs={tmp_path / 'runs'}", *long)
    checkpoints = tmp_path / "runs" / "grid" / "tiny" / "seed=0" / "checkpoints"
    deadline = time.monotonic() + 120
    while not any(checkpoints.glob("step-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    *_, of_run, of_sweep = errors.splitlines()
    assert "is finished and saved; the same command continues from it" in of_run
    assert "was interrupted; the same command continues the sweep" in of_sweep
    process = run_sweep(sweep, *long)
    assert process.returncode == 0, process.stderr
    assert "continues at step" in process.stdout
    same_run(tmp_path / "whole" / "grid" / "tiny" / "seed=0", tmp_path / "runs" / "grid" / "tiny" / "seed=0")
    results = json.loads((checkpoints.parent / "results.json").read_text())
    assert results["step"] == 100
