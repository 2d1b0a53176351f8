"""Several workers of one run under load: all are killed at random, started again, and end in the same bits."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.programs import free_ports, tf_config
from trained import differences, train_quickly

_WORKERS = 3
_FLAGS = (
    "--batch_size=21", "--labeled_per_batch=9", "--training_steps=60", "--evaluation_steps=30", "--checkpoint_steps=5",
)  # fmt: skip
_BUSY = 4  # Processes beside them.


def restarts(folder: Path, count: int) -> Iterator[tuple[str, str]]:
    """One of three workers is killed at a random moment; all are started again, and end as if nothing had been."""
    generator = random.Random("restarts")
    with _load():
        whole = folder / "whole"
        if found := _finish(_start(whole)):
            yield "undisturbed", found
            return
        for number in range(count):
            run, killed, step = folder / f"{number}", generator.randrange(_WORKERS), generator.randrange(5, 60, 5)
            workers = _start(run)
            workers[killed].kill_when(lambda run=run, step=step: (run / "0" / "checkpoints" / f"step-{step}").exists())
            for worker in workers:
                if worker is not workers[killed]:
                    worker.finish()
            what = f"worker {killed} killed after step {step}"
            yield what, _finish(_start(run)) or differences(run / "0", whole / "0")


def _start(folder):
    ports = free_ports(_WORKERS)
    return [train_quickly(folder / str(index), *_FLAGS, TF_CONFIG=tf_config(ports, index)) for index in range(_WORKERS)]


def _finish(workers):
    failed = [f"worker {place} {worker.how_it_ended()}" for place, worker in enumerate(workers) if worker.finish()]
    for worker in workers:
        if worker.status():  # All of its words: who failed first shows in none of the last lines.
            print(worker.errors(), file=sys.stderr, flush=True)
    return "; ".join(failed)


@contextmanager
def _load():
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(_BUSY)]
    for process in busy:
        os.setpriority(os.PRIO_PROCESS, process.pid, 19)
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()
