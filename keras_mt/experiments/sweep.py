"""Runs all experiments of a sweep, each in a process and a folder of its own: `RUNS/NAME/WHAT VARIES/seed=N`.

What is done is skipped, what was cut off continues, and a run that fails is named at the end while the others go on.
"""

import signal
import subprocess
import sys
from collections.abc import Sequence

from keras_mt.experiments.config import Config
from keras_mt.experiments.errors import RunError
from keras_mt.experiments.running.results import results_of
from keras_mt.experiments.running.run_directory import RunDirectory
from keras_mt.experiments.running.sweeps import PlannedRun


def main(planned: Sequence[tuple[PlannedRun, Config]]) -> None:
    """Runs what is planned, one after the other.

    Args:
        planned: The runs, with their configurations.
    """
    failed = []
    for number, (run, config) in enumerate(planned, 1):
        print(f"[{number}/{len(planned)}] {run.name}", flush=True)
        # Damaged results are not: the training program writes them anew.
        if results_of(RunDirectory(run.name).results, config.identity()) is not None:
            print("  is done", flush=True)
        elif (reason := _train(run)) is not None:
            failed.append(f"{run.name} ({reason})")
    if failed:
        raise RunError(f"{len(failed)} of {len(planned)} runs failed: {'; '.join(failed)}")
    print(f"all {len(planned)} runs are done")


def _train(run):
    """Trains in a process of its own; returns what went wrong, or None."""
    command = [sys.executable, "-m", "keras_mt.train", *run.arguments, f"--run_dir={run.name}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace")
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
        # Whether it was saved it has said itself: it may have had nothing to save yet.
        print(f"{run.name} was interrupted; the same command continues the sweep", file=sys.stderr)
        sys.exit(143 if abs(status) in (143, signal.SIGTERM) else 130)
    if status == 0:
        return None
    sentences = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    return sentences[-1] if sentences else f"status {status}"
