"""Runs all experiments of a sweep: `python -m keras_mt.sweep --sweep=flags/sweeps/svhn.toml --runs=runs`.

Runs are done one after the other, each in a process and a folder of its own: `RUNS/NAME/WHAT VARIES/seed=N`. What
is done is skipped, what was cut off continues, and a run that fails is named at the end while the others go on.
--sweep can be given several times; --shard=1/3 does every third run. Flags of an experiment (--data_dir, --precision,
--width, ...) given here hold for all runs.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path

from absl import flags

from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.running import checks, program, settings
from keras_mt.experiments.running.run_directory import RunDirectory
from keras_mt.experiments.running.settings import FLAGS
from keras_mt.experiments.running.sweeps import PlannedRun, read_sweep


def define() -> None:
    """Defines the flags of the program, beside those of an experiment."""
    settings.define()
    flags.DEFINE_multi_string("sweep", [], "Sweep file; may be given several times.")
    flags.DEFINE_string("runs", "runs", "Folder below which each sweep and each of its runs has its own.")
    flags.DEFINE_string("shard", "1/1", "i/n: of n processes or machines that share the runs, this is number i.")


def main() -> None:
    index, count = _shard()
    if not FLAGS.sweep:
        raise UsageError("--sweep is missing; name a sweep file")
    if FLAGS["run_dir"].present:
        raise UsageError(f"--run_dir={FLAGS.run_dir} names one run; a sweep has many: give --runs")
    common = _common_flags()
    planned = []
    for path in map(Path, FLAGS.sweep):
        for run in read_sweep(path):
            both = sorted(run.varied & set(common))
            if both:
                raise UsageError(f"--{both[0]} varies in --sweep={path}; it can't be given for all runs")
            arguments = [*run.arguments, *common.values()]
            planned.append(PlannedRun(str(Path(FLAGS.runs) / path.stem / run.name), tuple(arguments), run.varied))
    wanted = {run.name: _flags_of(run) for run in planned}  # All are checked before the first one starts.

    failed = []
    mine = planned[index - 1 :: count]
    for number, run in enumerate(mine, 1):
        print(f"[{number}/{len(mine)}] {run.name}", flush=True)
        if _is_done(run, wanted[run.name]):
            print("  is done", flush=True)
        elif (reason := _train(run)) is not None:
            failed.append(f"{run.name} ({reason})")
    if failed:
        raise RunError(f"{len(failed)} of {len(mine)} runs failed: {'; '.join(failed)}")
    print(f"all {len(mine)} runs are done")


def _shard():
    index, slash, count = FLAGS.shard.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise UsageError(f"--shard={FLAGS.shard} must be i/n with i from 1 to n, such as 1/3")
    return int(index), int(count)


def _common_flags():
    """The flags of an experiment that were given to this program, by name, as arguments."""
    given = [name for name in settings.names() if FLAGS[name].present]
    return {name: FLAGS[name].serialize() for name in given if FLAGS[name].serialize()}


def _flags_of(run):
    """The flags of the experiment as the training program will see them."""
    saved, arguments = FLAGS.flag_values_dict(), sys.argv
    try:
        for name in settings.names():
            FLAGS[name].unparse()
        sys.argv = ["train", *run.arguments]
        FLAGS(["train", *run.arguments, f"--run_dir={run.name}"])
        checks.check()
        RunDirectory(FLAGS.run_dir).check()
        return settings.of_the_experiment()
    except (flags.Error, UsageError) as error:
        raise UsageError(f"{run.name}: {error}") from error
    finally:
        sys.argv = arguments
        for name in settings.names():
            FLAGS[name].value = saved[name]


def _is_done(run, wanted):
    results = RunDirectory(run.name).results
    if not results.exists():
        return False
    try:
        there = json.loads(results.read_text())["flags"]
    except (ValueError, KeyError, TypeError):
        return False  # The training program writes it anew.
    return all(there.get(name, value) == value for name, value in wanted.items())


def _train(run):
    """Trains in a process of its own; returns what went wrong, or None."""
    command = [sys.executable, "-m", "keras_mt.train", *run.arguments, f"--run_dir={run.name}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    said = []
    try:
        while True:
            try:
                for line in process.stderr:
                    print(line, end="", file=sys.stderr, flush=True)
                    said.append(line.strip())
                status = process.wait()
                break
            except KeyboardInterrupt:
                pass  # The run received it too, and saves before it ends.
    finally:
        signal.signal(signal.SIGTERM, before)
    if status in (128 + signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGTERM):
        print(f"{run.name} was interrupted and saved; the same command continues the sweep", file=sys.stderr)
        sys.exit(143 if abs(status) in (143, signal.SIGTERM) else 130)
    if status == 0:
        return None
    sentences = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    return sentences[-1] if sentences else f"status {status}"


if __name__ == "__main__":
    define()
    program.run(main)
