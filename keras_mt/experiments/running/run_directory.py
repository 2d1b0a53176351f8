"""The folder of a run: what is in it, and whose run it is."""

import json
import os
from pathlib import Path

from keras_mt.experiments import flagging
from keras_mt.experiments.config import Config
from keras_mt.experiments.errors import RunError, UsageError


class RunDirectory:
    """Paths of a run, and the files that say what it is and what came of it."""

    def __init__(self, path: str):
        self.path = Path(path)
        self.flagfile = self.path / "flags.cfg"
        self.evaluations = self.path / "evaluations.csv"
        self.events = self.path / "events"
        self.checkpoints = self.path / "checkpoints"
        self.curves = self.path / "curves.png"
        self.exported_teacher = self.path / "exported_teacher"
        self.results = self.path / "results.json"
        self.networks = self.path / "networks.json"

    def check(self, config: Config) -> None:
        """Checks that the folder is this experiment's, empty or not there yet.

        Raises:
            UsageError: If the folder holds something else.
        """
        if self.flagfile.exists():
            recorded = self.recorded().identity()
            for name, value in config.identity().items():
                if recorded[name] != value:
                    there, here = (
                        " ".join(flagging.as_arguments({name: found})) or f"no --{name}"
                        for found in (recorded[name], value)
                    )
                    raise UsageError(
                        f"--run_dir={self.path} holds another experiment: {there} there, {here} here; name another "
                        "folder"
                    )
        elif self.path.exists() and not self.path.is_dir():
            raise UsageError(f"--run_dir={self.path} is a file; name a folder")
        elif self.path.exists() and any(path.name != "lock" for path in self.path.iterdir()):
            raise UsageError(f"--run_dir={self.path} is not empty and no run's folder; name another folder")

    def must_hold_a_run(self) -> None:
        """Checks that the folder is a run's.

        Raises:
            UsageError: If it is not.
        """
        if not self.flagfile.exists():
            raise UsageError(f"--run_dir={self.path} holds no run: {self.flagfile.name} is missing")

    def recorded(self) -> Config:
        """Returns the configuration of the run from its flagfile; what came with a later version has its default.

        Raises:
            UsageError: If the flagfile can't be read.
        """
        try:
            return flagging.parse([Config], [f"--flagfile={self.flagfile}"]).options[0]
        except UsageError as error:
            raise UsageError(
                f"{self.flagfile} is no flagfile of this version ({error}); name another folder"
            ) from error

    def claim(self) -> None:
        """Keeps other processes off the folder, which must exist, until this one ends.

        Raises:
            RunError: If another process trains in it, or it can't be written.
        """
        from filelock import FileLock, Timeout

        try:
            self._lock = FileLock(self.path / "lock", timeout=0)
            self._lock.acquire()
        except Timeout as error:
            raise RunError(f"--run_dir={self.path} is in use: another process trains in it") from error
        except OSError as error:
            raise RunError(f"--run_dir={self.path} can't be written ({error.strerror})") from error

    def create(self, config: Config) -> None:
        """Makes the folder this experiment's. Called late: a mistyped flag leaves nothing behind.

        Raises:
            RunError: If it can't be made, or another process was faster.
        """
        if not self.flagfile.exists():
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RunError(f"--run_dir={self.path} can't be created ({error.strerror})") from error
            self.claim()
            self.check(config)
            command = f"python -m keras_mt.train --flagfile={self.flagfile} --run_dir=..."
            lines = [f"# {command} repeats this run.", *flagging.as_flagfile(config, without=["run_dir"]), ""]
            write_atomically(self.flagfile, "\n".join(lines))

    def write_results(self, results: dict) -> None:
        """Writes results.json."""
        write_atomically(self.results, json.dumps(results, indent=2) + "\n")


def reason_of(error: Exception) -> str:
    """Returns why a file can't be written, from an error of Python or of TensorFlow."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    # TensorFlow: operation, path; reason [Op:...].
    return " ".join(str(error).split()).split(" [Op:")[0].rsplit("; ", 1)[-1]


def write_atomically(path: Path, text: str) -> None:
    """Writes a file atomically.

    Raises:
        RunError: If it can't be written; what was there is kept.
    """
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        with open(unfinished, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise RunError(f"{path} can't be written ({error.strerror})") from error
