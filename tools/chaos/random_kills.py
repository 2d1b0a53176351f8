"""SIGKILL at random moments of a longer run of each method, every other one while a checkpoint is being written."""

import functools
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from trained import QuickProgram, differences

METHODS = ("mean_teacher", "pi", "temporal_ensembling", "supervised")
PRECISIONS = ("float32", "bfloat16")


def at_random(
    folder: Path, kills: int, steps: int, methods: Sequence[str], precisions: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """A run of each method in each precision is killed so many times, and ends as one that was left alone.

    Args:
        folder: Where the runs are.
        kills: Number of kills a run.
        steps: Length of a run.
        methods: Some of `METHODS`.
        precisions: Some of `PRECISIONS`.
    """
    for method in methods:
        for precision in precisions:
            yield from _killed(folder, f"{method}-{precision}", _flags(method, precision, steps), kills)


def _flags(method, precision, steps):
    return [
        "--dataset=digits", "--num_labels=50", "--width=0.0625", "--batch_size=50",
        f"--labeled_per_batch={50 if method == 'supervised' else 20}", f"--method={method}",
        f"--precision={precision}", "--max_consistency_weight=10", "--rampup_steps=100",
        f"--training_steps={steps}", "--evaluation_steps=50", "--checkpoint_steps=3",
    ]  # fmt: skip


def _killed(folder, name, flags, kills):
    alone, killed = (folder / f"{name}-{kind}" for kind in ("alone", "killed"))
    start = time.monotonic()
    program = _start(flags, alone)
    if program.finish():
        yield f"{name}, left alone", program.how_it_ended()
        return
    duration = time.monotonic() - start
    generator, while_saving, number = random.Random(name), 0, 0
    for number in range(kills):
        started, program = time.time(), _start(flags, killed)
        # Short enough for some to die before their first step.
        time.sleep(generator.uniform(0.1, 0.1 + min(duration, 8.0 + duration / kills)))
        unfinished = killed / "checkpoints" / "unfinished"
        if number % 2:
            program.kill_when(functools.partial(_written_since, unfinished, started))
        ended = program.status() == 0
        program.kill()
        while_saving += _written_since(unfinished, started)
        if ended:
            break
    program = _start(flags, killed)
    found = program.how_it_ended() if program.finish() else differences(killed, alone)
    yield f"{name}, killed {number + 1} times, {while_saving} of them while saving", found


def _start(flags, run):
    return QuickProgram("train", [*flags, f"--run_dir={run}"])


def _written_since(folder, started):
    """Whether a half-written checkpoint is there, and is not what an earlier kill left."""
    try:
        return folder.stat().st_ctime >= started
    except FileNotFoundError:
        return False
