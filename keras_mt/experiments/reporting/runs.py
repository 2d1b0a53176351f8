"""Finished runs, as their folders tell of them."""

import dataclasses
import os
from pathlib import Path

from keras_mt.experiments.config import Config
from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.reading import DamagedFileError
from keras_mt.experiments.running.evaluation_rows import NETWORKS, read_rows
from keras_mt.experiments.running.results import published_network, read_results
from keras_mt.experiments.running.run_directory import UNFINISHED

SEEDS = ("seed", "data_seed")
_ROUNDED = 1e-6


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        path: Its folder.
        flags: Names and values of the flags of the experiment.
        student: Errors of the last evaluation by their names, in percent: `error`, and `top5_error` if it was measured.
        teacher: Likewise, of the averaged weights.
        average: Likewise, of the second average; empty if there was none.
        step: Its last step.
        data: Where its images came from.
        rows: Its evaluations.
        machine: The processor, its instructions and the seconds a step as words; empty if they are not known.
        chance: Error of always answering the most frequent class, and the number of images; None if it is not known.
        copies: Other folders with the same seeds, flags and results.
    """

    path: Path
    flags: dict
    student: dict
    teacher: dict
    step: int
    data: str
    rows: tuple[dict, ...]
    chance: dict | None = None
    average: dict = dataclasses.field(default_factory=dict)
    machine: str = ""
    copies: tuple[Path, ...] = ()

    def error(self, name: str = "error") -> float | None:
        """Returns the error that is published: the teacher's for Mean Teacher, the student's for other methods, and
        that of a second average where there is one."""
        return getattr(self, published_network(self.flags["method"], bool(self.average))).get(name)

    def setting(self) -> tuple:
        """Returns what runs have in common that differ in their seeds only."""
        return tuple(sorted((name, str(value)) for name, value in self.flags.items() if name not in SEEDS))


def read_runs(folders: list[str]) -> tuple[list[Run], list[str]]:
    """Reads all runs in and below folders.

    Args:
        folders: The folders.

    Returns:
        The finished runs by data, phase, number of labels and path, and the paths of unfinished ones. A run that is in
        several folders is one, with the name of the first; two runs of the same seeds with other results, those of
        another machine say, are two.

    Raises:
        UsageError: If a folder is missing or holds no run.
        RunError: If the results of a run are damaged.
    """
    paths = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise UsageError(f"--runs={folder} is no folder; name one that holds runs")
        found = _runs_below(folder)
        if not found:
            raise UsageError(f"--runs={folder} holds no run; the folder of one, or one above such folders, is needed")
        for path in found:
            paths.setdefault(path.resolve(), path)  # One folder may be named in several ways.
    finished = [_read(path) for path in paths.values() if (path / "results.json").exists()]
    unfinished = sorted(str(path) for path in paths.values() if not (path / "results.json").exists())
    return _without_copies(sorted(finished, key=_place)), unfinished


def _runs_below(folder):
    """All folders of runs in and below a folder; what links lead to comes last, unless it was seen without them."""

    def refuse(error):
        raise RunError(f"--runs={folder}: {error.filename} can't be read ({error.strerror})") from error

    found, seen, starts = [], set(), [folder]
    while starts:
        for place, inner, files in os.walk(starts.pop(0), onerror=refuse):
            path = Path(place)
            if path.resolve() in seen:  # A link that leads up, or where another has led.
                inner.clear()
                continue
            seen.add(path.resolve())
            inner[:] = sorted(name for name in inner if UNFINISHED not in name)
            starts += [path / name for name in inner if (path / name).is_symlink()]
            if not {"flags.cfg", "results.json"}.isdisjoint(files):
                found.append(path)
    return sorted(found)


def _without_copies(runs):
    same = {}
    for run in runs:
        what = dataclasses.replace(run, path=Path(), machine="")  # Another run of it takes other seconds.
        same.setdefault(repr(what), []).append(run)
    return [dataclasses.replace(first, copies=tuple(copy.path for copy in copies)) for first, *copies in same.values()]


def _place(run):
    labels = str(run.flags["num_labels"])
    return run.flags["dataset"], run.flags["phase"], len(labels), labels, run.path


def _read(path):
    rows = tuple(read_rows(path / "evaluations.csv"))
    try:
        results = read_results(path / "results.json")
        _check_told_alike(path, results, rows)
    except DamagedFileError as error:
        raise RunError(f"{error}; the training command writes it anew") from error
    student, teacher, average = (
        {name: float(error) for name, error in results.get(network, {}).items()} for network in NETWORKS
    )
    more = results["step"], results.get("data", ""), rows, results.get("chance")
    # Flags that a run of an earlier version does not know: their defaults are what it did.
    flags = {**Config().identity(), **results["flags"]}
    return Run(path, flags, student, teacher, *more, average, _machine(results))


def _check_told_alike(path, results, rows):
    """Refuses results that contradict the flags or the last evaluation of their own run."""
    told = [("flags.training_steps", results["flags"].get("training_steps"), "step", results["step"])]
    if rows:
        last, source = rows[-1], f"in {path / 'evaluations.csv'}"
        told.append((f"the last step {source}", last["step"], "step", results["step"]))
        for network in NETWORKS:
            for name in ("error", "top5_error"):
                there = results.get(network, {}).get(name)
                told.append(
                    (f"its {network}_{name} {source}", last.get(f"{network}_{name}"), f"{network}.{name}", there)
                )
    for source, wanted, name, found in told:
        if wanted is not None and (found is None or abs(wanted - found) > _ROUNDED):
            raise DamagedFileError(f"{path / 'results.json'} is damaged: {name} is {found}, and {source} is {wanted}")


def _machine(results):
    found = results.get("machine", {})
    words = [found[name] for name in ("processor", "instructions") if name in found]
    words += [f"oneDNN {found['oneDNN']}"] if "oneDNN" in found else []
    seconds = results.get("seconds_per_step")
    return ", ".join([*words, *([f"{seconds:.2g} s a step"] if seconds is not None else [])])
