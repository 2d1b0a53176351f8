"""SIGKILL in the moments in which a run directory changes hands or gets its results."""

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from trained import Undisturbed, differences, same_command

CLAIMING = (".", "lock", "flags.cfg", "networks.json", "evaluations.csv")
RANDOM_MOMENTS = 6
CONCLUDING = (
    "checkpoints/unfinished", "checkpoints/step-12", "exported_teacher.unfinished-*",
    "exported_teacher.unfinished-*/finished/variables", "exported_teacher.unfinished-*/finished/saved_model.pb",
    "exported_teacher.unfinished-*/replaced", "exported_teacher",
    "curves.png*", "curves.png", "results.json*", "results.json",
)  # fmt: skip


def while_claiming(folder: Path, undisturbed: Undisturbed) -> Iterator[tuple[str, str]]:
    """When each of the first files appears, and at random in the first second; then the same command."""
    for number, name in enumerate(CLAIMING):
        run = folder / f"claiming-{number}"
        undisturbed.train(run).kill_when((run / name).exists)
        yield f"killed when {name} appeared", same_command(run, undisturbed)
    generator = random.Random("claiming")
    for number in range(RANDOM_MOMENTS):
        run, moment = folder / f"moment-{number}", generator.uniform(0.05, 1.0)
        program = undisturbed.train(run)
        time.sleep(moment)
        program.kill()
        yield f"killed after {moment:.2f} s", same_command(run, undisturbed)


def while_concluding(folder: Path, undisturbed: Undisturbed) -> Iterator[tuple[str, str]]:
    """When each of the last files appears or is written anew: of a run that is to be ended, and of one that is done."""
    for number, name in enumerate(CONCLUDING):
        run = folder / f"concluding-{number}"
        shutil.copytree(undisturbed(), run)
        shutil.rmtree(run / "checkpoints" / "step-12")
        for path in (run / "exported_teacher", run / "curves.png", run / "results.json"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        in_time = undisturbed.train(run).kill_when(lambda run=run, name=name: any(run.glob(name)))
        yield f"killed when {name} appeared{'' if in_time else ' (too late)'}", same_command(run, undisturbed)
    for number, name in enumerate(CONCLUDING[2:]):
        run = folder / f"again-{number}"
        shutil.copytree(undisturbed(), run)
        before = {path: _age(path) for path in run.glob(name)}
        undisturbed.train(run).kill_when(lambda run=run, name=name, before=before: _is_new(run, name, before))
        lost = _lost(run, undisturbed())
        yield f"done, started again, killed when {name} was new", lost or same_command(run, undisturbed)


def _age(path):
    try:
        return path.stat().st_ino, path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _is_new(run, name, before):
    return any(_age(path) not in (None, before.get(path)) for path in run.glob(name))


def _lost(run, other):
    """A run that was done is done whenever its repetition is killed, but for what is half written beside."""
    for path in run.iterdir():
        if ".unfinished" in path.name:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = differences(run, other)
    # Between two renames the SavedModel has another name; the same command writes it.
    return "" if found.startswith("lacks exported_teacher") and ";" not in found else found
