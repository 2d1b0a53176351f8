"""Sweep files: a flagfile, the flags that vary, the seeds; and the configurations that follow from them."""

import dataclasses
import itertools
import tomllib
from pathlib import Path
from typing import Any

from keras_mt.experiments import checks, flagging
from keras_mt.experiments.config import Config
from keras_mt.experiments.errors import UsageError


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
        checks.check(config)
        checks.check_ramps(config, command.typed)
        return config


def read_sweep(path: Path) -> list[PlannedRun]:
    """Returns the runs of a sweep file.

    The file is TOML with one or more `[[grid]]`: `flagfile` (beside the sweep's folder), `seeds` (each is `--seed` and
    `--data_seed`), optional `set` (a table of flags) and `vary`: a table from a flag, or several with commas between
    them, to the list of values, or of lists of values. All combinations of a grid are run.

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
        content = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--sweep={path} can't be read as a sweep file ({reason})") from error
    grids = content.get("grid")
    if not isinstance(grids, list) or not grids:
        raise UsageError(f"--sweep={path} holds no [[grid]]; at least one is needed")
    runs = [run for grid in grids for run in _runs_of(path, grid)]
    names = [run.name for run in runs]
    double = {name for name in names if names.count(name) > 1}
    if double:
        raise UsageError(f"--sweep={path} has two runs that are the same: {sorted(double)[0]}")
    return runs


def _runs_of(path, grid):
    unknown = set(grid) - {"flagfile", "seeds", "set", "vary"}
    if unknown:
        raise UsageError(f"--sweep={path}: {sorted(unknown)[0]!r} is none of flagfile, seeds, set, vary")
    if not isinstance(grid.get("flagfile"), str):
        raise UsageError(f"--sweep={path}: a [[grid]] lacks its flagfile")
    seeds = grid.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int for seed in seeds):
        raise UsageError(f"--sweep={path}: seeds={seeds!r} must be a list of whole numbers")
    flagfile = path.parent.parent / grid["flagfile"]
    fixed, vary = grid.get("set", {}), grid.get("vary", {})
    axes = [_axis(path, key, values) for key, values in vary.items()]
    for choice in itertools.product(*axes):
        changed = {name: value for part in choice for name, value in part.items()}
        label = ",".join([flagfile.stem, *(f"{name}={_text(value)}" for name, value in (fixed | changed).items())])
        for seed in seeds:
            yield PlannedRun(f"{label}/seed={seed}", flagfile, {**fixed, **changed, "seed": seed, "data_seed": seed})


def _axis(path, key, values):
    names = [name.strip() for name in key.split(",")]
    if not isinstance(values, list) or not values:
        raise UsageError(f"--sweep={path}: vary.{key} must be a list of values, not {values!r}")
    axis = []
    for value in values:
        parts = value if len(names) > 1 else [value]
        if not isinstance(parts, list) or len(parts) != len(names):
            raise UsageError(f"--sweep={path}: vary.{key} needs lists of {len(names)} values, not {value!r}")
        axis.append(dict(zip(names, parts, strict=True)))
    return axis


def _text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)
