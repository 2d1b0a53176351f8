"""What each program is called with, and what it refuses before TensorFlow is imported."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_mt.experiments import checks, flagging
from keras_mt.experiments.config import Config
from keras_mt.experiments.datasets.picture_files import SUFFIXES, pictures_in
from keras_mt.experiments.errors import UsageError
from keras_mt.experiments.flagging import CommandLine
from keras_mt.experiments.options import Options, is_count, option
from keras_mt.experiments.reading import DamagedFileError, read_text
from keras_mt.experiments.running import cluster, onednn
from keras_mt.experiments.running.run_directory import RunDirectory
from keras_mt.experiments.running.sweeps import PlannedRun, check_different, read_sweep

SHEET = "keras_mt contact sheet"  # What tells one from other PNG files.
NETWORKS = ("teacher", "student", "average")
# What an evaluation has no use for, though it takes the flags of a run.
_OF_TRAINING = ("strategy", "logical_devices", "worker_timeout", "checkpoint_steps")
_WHICH = "The network; default: the second average if the run has one, else the teacher."


@dataclasses.dataclass(frozen=True)
class SweepOptions(Options):
    """Flags of `sweep` beside those of an experiment, which hold for all runs."""

    sweep: tuple[str, ...] = option("sweep", (), "Sweep file; may be given several times.", path=True)
    runs: str = option("sweep", "runs", "Folder below which each sweep and each of its runs has its own.", path=True)
    shard: str = option("sweep", "1/1", "i/n: of n processes or machines that share the runs, this is number i.")


@dataclasses.dataclass(frozen=True)
class PredictOptions(Options):
    """Flags of `predict`."""

    run_dir: str | None = option("predict", None, "Folder of the run.", path=True)
    which: str | None = option("predict", None, _WHICH, choices=NETWORKS)
    all_probabilities: bool = option("predict", False, "A column for each class.")
    contact_sheet: str | None = option("predict", None, "A PNG file to draw the most uncertain pictures in.", path=True)
    pictures: int = option("predict", 48, "Pictures on the contact sheet.", 1, 400)
    force: bool = option("predict", False, "Whether the contact sheet may replace a PNG file that is none.")


@dataclasses.dataclass(frozen=True)
class ExportOptions(Options):
    """Flags of `export`."""

    run_dir: str | None = option("export", None, "Folder of the run.", path=True)
    format: str = option("export", "saved_model", "What is written.", choices=("saved_model", "onnx", "litert"))
    which: str | None = option("export", None, _WHICH, choices=NETWORKS)
    output: str | None = option("export", None, "Folder to write to; default: RUN_DIR/export/FORMAT.", path=True)
    model_version: int = option("export", 1, "saved_model: name of the folder that a server counts up.", 1, 2**63 - 1)


@dataclasses.dataclass(frozen=True)
class ReportOptions(Options):
    """Flags of `report`."""

    runs: tuple[str, ...] = option(
        "report", (), "Folder with run directories in or below it; may be given several times.", path=True
    )
    output: str = option("report", "report", "Folder to write the report to.", path=True)
    name: str = option("report", "report", "What the names of the report's files begin with.")
    introduction: str | None = option(
        "report", None, "Text file whose paragraphs stand at the head of the report.", path=True
    )
    force: bool = option("report", False, "Whether files may be replaced that no report wrote.")


@dataclasses.dataclass(frozen=True)
class Program:
    """One of the programs; its work is `main` of the module `keras_mt.experiments.NAME`.

    Attributes:
        summary: What it does.
        options: Classes of its flags.
        prepare: Turns a command line into the arguments of `main`, or raises a `UsageError`. Imports no TensorFlow.
        onednn: Says from these arguments what the program computes with: `"true"`, `"false"`, or `"auto"` for
            TensorFlow's default.
        takes_paths: Whether names of files may follow the flags.
    """

    summary: str
    options: Sequence[type[Options]]
    prepare: Callable[[CommandLine], tuple[Any, ...]]
    onednn: Callable[..., str] = lambda *arguments: "auto"
    takes_paths: bool = False


def _train(command):
    (config,) = command.options
    if not config.run_dir:
        raise UsageError("--run_dir is missing; name a folder for this run")
    config = checks.checked(config, command.typed)
    workers = cluster.of(config)
    run = RunDirectory(config.run_dir)
    if workers.is_chief:
        run.claim()
    try:
        if workers.is_chief:
            run.check(config)
        config = dataclasses.replace(config, onednn=onednn.chosen(config.onednn, run.recorded_onednn()))
    except BaseException:
        run.release()
        raise
    return config, command.typed, workers, run


def _evaluate(command):
    """The configuration is the run's, but for what is given, and for where to write: a run may have been sent."""
    run = _run(command.options[0].run_dir)
    (here,) = command.options
    for name in _OF_TRAINING:
        if name in command.typed:
            raise UsageError(f"--{name}={getattr(here, name)} is of training; an evaluation takes one device")
    given = {name: getattr(here, name) for name in command.given}
    if "onednn" in given:
        given["onednn"] = onednn.chosen(here.onednn)
    config = dataclasses.replace(run.recorded(), **{**given, "cache_dir": here.cache_dir})
    checks.check(config)
    return config, run


def _sweep(command):
    config, options = command.options
    index, count = _shard(options.shard)
    if not options.sweep:
        raise UsageError("--sweep is missing; name a sweep file")
    if "run_dir" in command.given:
        raise UsageError(f"--run_dir={config.run_dir} names one run; a sweep has many: give --runs")
    names = {field.name for field in dataclasses.fields(config)}
    common = {name: getattr(config, name) for name in sorted(command.given & names)}
    planned, sweep_of = [], {}
    for path in map(Path, options.sweep):
        runs = _planned(path, Path(options.runs) / path.stem, common)
        check_different(path, runs)
        for run, _ in runs:
            if run.name in sweep_of:
                raise UsageError(
                    f"--sweep={sweep_of[run.name]} and --sweep={path} have the same folder for a run, {run.name}; give "
                    "one of them, or another name to one"
                )
            sweep_of[run.name] = path
        planned += runs
    for run, config in planned:
        with _named(run):
            RunDirectory(run.name).check(config)
    return (planned[index - 1 :: count],)


def _planned(path, folder, common):
    """The runs of a sweep file with their configurations: all are checked before the first one starts."""
    runs = []
    for run in read_sweep(path):
        both = sorted(run.values.keys() & common)
        if both:
            raise UsageError(f"--{both[0]} varies in --sweep={path}; it can't be given for all runs")
        run = PlannedRun(str(folder / run.name), run.flagfile, {**run.values, **common})
        with _named(run):
            runs.append((run, dataclasses.replace(run.config(), run_dir=run.name)))
    return runs


@contextlib.contextmanager
def _named(run):
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{run.name}: {error}") from error


def _shard(text):
    index, slash, count = text.partition("/")
    if not (slash and is_count(index) and is_count(count) and int(index) <= int(count)):
        raise UsageError(f"--shard={text} must be i/n with i from 1 to n, such as 1/3")
    return int(index), int(count)


def _predict(command):
    (options,) = command.options
    run, pictures = _run(options.run_dir), _pictures(command.rest)
    if options.contact_sheet is None:
        for name in sorted({"pictures", "force"} & command.typed):
            raise UsageError(f"--{name} is of a contact sheet; give --contact_sheet")
    else:
        _check_sheet(Path(options.contact_sheet), pictures, options.force)
    return options, run, pictures


def _check_sheet(path, pictures, force):
    named = f"--contact_sheet={path}"
    if path.is_dir() or not path.name:
        raise UsageError(f"{named} is a folder; name a PNG file")
    if not path.exists():
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise UsageError(f"{named} can't be written: {path.parent} is no folder that can be written to")
        return
    if not path.is_file():
        raise UsageError(f"{named} is no file; name a PNG file")
    if any(path.samefile(picture) for picture in pictures):
        raise UsageError(f"{named} is one of the pictures; name another file")
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise UsageError(f"{named} is there already and can't be read ({error.strerror}); name another file") from error
    if not start.startswith(b"\x89PNG"):
        raise UsageError(f"{named} is there already and no PNG file; name another file")
    if SHEET.encode() not in start and not force:
        raise UsageError(f"{named} is there already and no contact sheet; name another file, or give --force")


def _pictures(arguments):
    """All pictures that were named, those of folders sorted."""
    if not arguments or not all(arguments):
        raise UsageError("no pictures were named; give files or folders after the flags")
    paths = []
    for argument in map(Path, arguments):
        if argument.is_dir():
            found = pictures_in(argument)
            if not found:
                raise UsageError(f"{argument} holds no pictures ({', '.join(SUFFIXES)})")
            paths += found
        elif argument.is_file():
            paths.append(argument)
        elif argument.exists():
            raise UsageError(f"{argument} is no file; files or folders of pictures are needed")
        else:
            raise UsageError(f"{argument} is not there; files or folders of pictures are needed")
    return paths


def _export(command):
    (options,) = command.options
    if "model_version" in command.typed and options.format != "saved_model":
        raise UsageError(f"--model_version={options.model_version} needs --format=saved_model, not {options.format}")
    return options, _run(options.run_dir)


def _report(command):
    (options,) = command.options
    if not options.runs:
        raise UsageError("--runs is missing; name a folder of runs")
    output = Path(options.output)
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output={output} is a file; name a folder")
    if options.name != Path(options.name).name or options.name == "..":
        raise UsageError(f"--name={options.name} must be a name without folders; --output names the folder")
    return options, _introduction(options.introduction)


def _introduction(name):
    if name is None:
        return ()
    try:
        return tuple(" ".join(part.split()) for part in read_text(Path(name)).split("\n\n"))
    except DamagedFileError as error:
        raise UsageError(f"--introduction={error}; a text file is needed") from error


def _run(run_dir):
    if not run_dir:
        raise UsageError("--run_dir is missing; name the folder of a run")
    run = RunDirectory(run_dir)
    run.must_hold_a_run()
    return run


PROGRAMS = {
    "train": Program(
        "Trains one experiment: `keras-mt train --flagfile=flags/digits_50.cfg --run_dir=runs/digits_50`.\n"
        "The same command given again continues the run from its newest checkpoint.",
        [Config],
        _train,
        lambda config, *_: config.onednn,
    ),
    "evaluate": Program(
        "Evaluates what a run saved: `keras-mt evaluate --run_dir=runs/digits_50`.",
        [Config],
        _evaluate,
        lambda config, run: config.onednn,
    ),
    "sweep": Program(
        "Runs all experiments of a sweep: `keras-mt sweep --sweep=flags/sweeps/svhn.toml --runs=runs`.\n"
        "What is done is skipped, what was cut off continues. Flags of an experiment hold for all runs.",
        [Config, SweepOptions],
        _sweep,
    ),
    "predict": Program(
        "Says what is on pictures: `keras-mt predict --run_dir=runs/mine a.jpg folder > predictions.csv`.\n"
        "Prints a CSV with a line for each picture: its path, the class, and its probability.",
        [PredictOptions],
        _predict,
        lambda options, run, pictures: run.recorded_onednn(),
        takes_paths=True,
    ),
    "export": Program(
        "Exports a network of a run: `keras-mt export --run_dir=runs/digits_50 --format=saved_model`.",
        [ExportOptions],
        _export,
        lambda options, run: run.recorded_onednn(),
    ),
    "report": Program(
        "Reports on finished runs: `keras-mt report --runs=runs/svhn --output=report`.",
        [ReportOptions],
        _report,
    ),
}


def help_of(name: str) -> str:
    """Returns the help of a program."""
    program = PROGRAMS[name]
    return f"{program.summary}\n{flagging.help_text(program.options)}"


def flags_of(name: str) -> set[str]:
    """Returns the names of a program's flags."""
    return {field.name for options in PROGRAMS[name].options for field in dataclasses.fields(options)}


def prepared(name: str, arguments: Sequence[str]) -> tuple[Any, ...]:
    """Returns the arguments of a program's `main` from its command line.

    Raises:
        UsageError: If the command line can't be carried out, as far as that can be seen without the data.
    """
    program = PROGRAMS[name]
    command = flagging.parse(program.options, arguments)
    if command.rest and not program.takes_paths:
        raise UsageError(f"unexpected argument {command.rest[0]!r}; settings are given as --flag=value")
    return program.prepare(command)
