"""Faults of the machine, put into a process by a small library that is preloaded: full disks, clocks that jump."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from trained import Undisturbed, differences, same_command

_DAY = 86_400
_SOURCE = Path(__file__).with_name("faults.c")


def preload(folder: Path) -> dict[str, str]:
    """Compiles the library and returns the variables of a process that has it; what it does is in faults.c."""
    compiler, library = shutil.which("cc"), folder / "faults.so"
    if compiler is None:
        raise SystemExit("full disks and clocks need a C compiler: `cc` was not found")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}


def full_disks(folder: Path, undisturbed: Undisturbed) -> Iterator[tuple[str, str]]:
    """Each file that a run writes does not fit, one a run: of a new run, and of one that was cut off."""
    for number, pattern in enumerate(_written(folder, undisturbed)):
        for kind in ("new", "continued"):
            run = folder / f"full-{number}-{kind}"
            if kind == "continued":
                undisturbed.cut_off(run)
            program = undisturbed.train(run, CHAOS_FULL=f"{run}/{pattern}")
            yield f"{kind} run, no room for {pattern}", _answer(run, program, undisturbed)


def _written(folder, undisturbed):
    """Patterns of all files below the run directory into which a run writes, as it was seen to."""
    run, record = folder / "recorded", folder / "written.txt"
    program = undisturbed.train(run, CHAOS_RECORD=str(record))
    if program.finish():
        raise SystemExit(f"the recorded run failed: {program.how_it_ended()}")
    names = [line.removeprefix(f"{run}/") for line in record.read_text().splitlines() if line.startswith(f"{run}/")]
    # The same file has another time or number in its name in each run.
    return list(dict.fromkeys(re.sub(r"(events\.out|tempstate|\.pb\.tmp).*", r"\1*", name) for name in names))


def _answer(run, program, undisturbed):
    before = _whole_files(run)
    if program.finish() == 0:  # What is empty needs no room: the lock.
        return differences(run, undisturbed())
    if program.refusal() is None:
        return program.how_it_ended()
    left = [str(path.relative_to(run)) for path in run.rglob("*unfinished*")] if run.exists() else []
    if left:
        return f"{', '.join(left)} is left behind"
    after = _whole_files(run)
    lost = [name for name, content in before.items() if after.get(name) != content]
    if lost:
        return f"{', '.join(lost)} was lost or changed"
    return same_command(run, undisturbed)


def _whole_files(run):
    """What must outlive a full disk: all but what is a function of the checkpoint, and written anew from it."""
    paths = [path for path in run.rglob("*") if path.is_file()] if run.exists() else []
    kept = [path for path in paths if path.name not in ("lock", "evaluations.csv") and "events" not in path.parts]
    # A checkpoint gives way to newer ones.
    kept = [path for path in kept if "checkpoints" not in path.parts or path.parent.name == "step-8"]
    kept = [path for path in kept if "exported_teacher" not in path.parts and path.name != "curves.png"]
    return {str(path.relative_to(run)): path.read_bytes() for path in kept}


def clocks(folder: Path, undisturbed: Undisturbed) -> Iterator[tuple[str, str]]:
    """The time of day jumps in a run, or is earlier than that of the files from which a run continues."""
    jumps = [(-_DAY, 0), (-_DAY, 6), (365 * _DAY, 6)]
    for number, (seconds, after) in enumerate(jumps):
        for kind in ("new", "continued"):
            run = folder / f"clock-{number}-{kind}"
            if kind == "continued":
                undisturbed.cut_off(run)
            program = undisturbed.train(run, CHAOS_CLOCK=str(seconds), CHAOS_CLOCK_AFTER=str(after))
            what = f"{kind} run, clock set by {seconds // _DAY} days {after} s after its start"
            if program.finish():
                yield what, program.how_it_ended()
            elif re.search(r"-\d+:\d\d", program.said()):
                yield what, "it told a negative time"
            else:
                yield what, differences(run, undisturbed()) or same_command(run, undisturbed)
