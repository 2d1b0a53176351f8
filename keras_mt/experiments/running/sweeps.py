"""Sweep files: a flagfile, the flags that vary, the seeds; and the configurations that follow from them."""

import dataclasses
import itertools
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_mt.experiments import checks, flagging
from keras_mt.experiments.config import Config
from keras_mt.experiments.errors import UsageError
from keras_mt.experiments.options import kind_of
from keras_mt.experiments.reading import DamagedFileError, in_words, native, read_text

# No part of the experiment, but its results depend on them.
_OF_RESULTS = ("data_dir", "onednn", "strategy", "logical_devices")
_BOOLEAN = {field.name for field in dataclasses.fields(Config) if kind_of(field) is bool}


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        name: What distinguishes it, as a path below the sweep's folder.
        flagfile: What it starts from.
        values: Names and values of the flags that the sweep sets beside it.
    """

    name: str
    flagfile: Path
    values: dict[str, Any]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The run's command line but for `--run_dir`."""
        return (f"--flagfile={self.flagfile}", *flagging.as_arguments(self.values))

    def config(self) -> Config:
        """Returns the run's configuration, checked.

        Raises:
            UsageError: If the run could not be started.
        """
        command = flagging.parse([Config], self.arguments)
        if command.rest:
            raise UsageError(f"{self.flagfile} holds {command.rest[0]!r}, which is no --flag=value")
        (config,) = command.options
        return checks.checked(config, command.typed)


def read_sweep(path: Path) -> list[PlannedRun]:
    """Returns the runs of a sweep file.

    The file is TOML with one or more `[[grid]]`: `flagfile` (beside the sweep's folder), `seeds` (each is `--seed`, and
    `--data_seed` unless that is set or varies), optional `set` (a table of flags) and `vary`: a table from a flag, or
    several with commas between them, to the list of values, or of lists of values. All combinations of a grid are run.

    ```toml
    [[grid]]
    flagfile = "cifar10_4000.cfg"
    seeds = [2000, 2001]
    vary = {method = ["pi", "mean_teacher"], "num_labels, max_consistency_weight" = [[1000, 2.0], [4000, 8.0]]}
    ```

    Args:
        path: The file.

    Raises:
        UsageError: If it can't be read as one.
    """
    try:
        content = tomllib.loads(read_text(path))
    except DamagedFileError as error:
        raise UsageError(f"--sweep={error}; a sweep file is needed") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--sweep={path} can't be read as a sweep file ({error})") from error
    grids = content.get("grid")
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) for grid in grids):
        raise UsageError(f"--sweep={path} holds no [[grid]]; at least one is needed")
    runs = [run for grid in grids for run in _runs_of(path, grid)]
    names = [run.name for run in runs]
    double = {name for name in names if names.count(name) > 1}
    if double:
        raise UsageError(f"--sweep={path} has two runs that are the same: {sorted(double)[0]}")
    return runs


def check_different(path: Path, planned: Sequence[tuple[PlannedRun, Config]]) -> None:
    """Checks that no experiment is planned twice, under two names. Two sweeps may have a run in common, as two
    ablations have.

    Args:
        path: The sweep file.
        planned: Its runs, with their configurations.

    Raises:
        UsageError: If two runs are the same but for where they are kept, naming both.
    """
    first = {}
    for run, config in planned:
        key = config.fingerprint(), *(getattr(config, name) for name in _OF_RESULTS)
        if key in first:
            raise UsageError(f"--sweep={path} has two runs that are the same: {first[key]} and {run.name}")
        first[key] = run.name


def _runs_of(path, grid):
    unknown = set(grid) - {"flagfile", "seeds", "set", "vary"}
    if unknown:
        raise UsageError(f"--sweep={path}: {sorted(unknown)[0]!r} is none of flagfile, seeds, set, vary")
    if not isinstance(grid.get("flagfile"), str):
        raise UsageError(f"--sweep={path}: a [[grid]] lacks its flagfile")
    seeds = grid.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int for seed in seeds):
        raise UsageError(f"--sweep={path}: seeds={seeds!r} must be a list of whole numbers")
    # In `flags/sweeps` itself the name of the file alone does not say what is above.
    flagfile = Path(os.path.abspath(path)).parent.parent / native(grid["flagfile"])
    fixed, vary = grid.get("set", {}), grid.get("vary", {})
    for name, table in (("set", fixed), ("vary", vary)):
        if not isinstance(table, dict):
            raise UsageError(f"--sweep={path}: {name} is {in_words(table)}; a table of flags is needed")
    fixed = {name: _value(path, f"set.{name}", name, value) for name, value in fixed.items()}
    axes = [_axis(path, key, values) for key, values in vary.items()]
    names = [*fixed, *(name for axis in axes for name in axis[0])]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--sweep={path}: {name} is given twice by set and vary; one of them alone can say it")
    for choice in itertools.product(*axes):
        changed = {name: value for part in choice for name, value in part.items()}
        values = fixed | changed
        for name, instead in (("seed", "seeds = [...]"), ("run_dir", "--runs")):
            if name in values:
                raise UsageError(f"--sweep={path}: {name} is given by {instead}, not by set or vary")
        label = ",".join([flagfile.stem, *(f"{name}={_text(value)}" for name, value in values.items())])
        for seed in seeds:
            seeded = {**values, "seed": seed, "data_seed": values.get("data_seed", seed)}
            yield PlannedRun(f"{label}/seed={seed}", flagfile, seeded)


def _axis(path, key, values):
    names = [name.strip() for name in key.split(",")]
    if not isinstance(values, list) or not values:
        raise UsageError(f"--sweep={path}: vary.{key} must be a list of values, not {values!r}")
    axis = []
    for value in values:
        parts = value if len(names) > 1 else [value]
        if not isinstance(parts, list) or len(parts) != len(names):
            raise UsageError(f"--sweep={path}: vary.{key} needs lists of {len(names)} values, not {value!r}")
        parts = [_value(path, f"vary.{key}", name, part) for name, part in zip(names, parts, strict=True)]
        axis.append(dict(zip(names, parts, strict=True)))
    return axis


def _value(path, place, name, value):
    if not isinstance(value, (str, int, float)):
        raise UsageError(f"--sweep={path}: {place} is {in_words(value)}; text, a number, true or false is needed")
    if isinstance(value, bool) and name not in _BOOLEAN:
        return str(value).lower()  # Of --jit_compile for example; as a flag without a value it would take the next one.
    return native(value) if isinstance(value, str) else value


def _text(value):
    """A value as a part of the name of one folder."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text.replace("%", "%25").replace("/", "%2F")
