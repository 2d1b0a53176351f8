"""Two sweeps that share a folder."""

import time
from collections.abc import Iterator
from pathlib import Path

from support.programs import TINY
from trained import Program, Undisturbed, differences

_SEEDS = (0, 1)


def shared_folder(folder: Path, undisturbed: Undisturbed) -> Iterator[tuple[str, str]]:
    """Both are started with the same file and the same folder, at once or one after the other; then once more."""
    (folder / "tiny.cfg").write_text("\n".join(TINY) + "\n")
    (folder / "sweeps").mkdir()
    sweep = folder / "sweeps" / "two.toml"
    sweep.write_text(f'[[grid]]\nflagfile = "tiny.cfg"\nseeds = {list(_SEEDS)}\n')
    for delay in (0, 1.0, 12.0):
        runs = folder / f"after-{delay}"
        arguments = [f"--sweep={sweep}", f"--runs={runs}"]
        first = Program("sweep", arguments)
        time.sleep(delay)
        second = Program("sweep", arguments)
        yield f"second after {delay} s", _answer(runs, first, second, arguments, undisturbed)


def _answer(runs, first, second, arguments, undisturbed):
    for program in (first, second):
        if program.finish() and "is in use: another process trains in it" not in program.errors():
            return program.how_it_ended()
        if "Traceback" in program.errors():
            return "a traceback"
    again = Program("sweep", arguments)
    if again.finish() or "all 2 runs are done" not in again.said():
        return f"the sweep once more: {again.how_it_ended()}"
    for seed in _SEEDS:
        run = runs / "two" / "tiny" / f"seed={seed}"
        if found := differences(run, undisturbed(f"--seed={seed}", f"--data_seed={seed}")):
            return f"{run.name} {found}"
    return ""
