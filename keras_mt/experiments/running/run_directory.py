"""The folder of a run: what is in it, and whose run it is."""

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from keras_mt.experiments import flagging
from keras_mt.experiments.config import Config
from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.reading import in_words

UNFINISHED = ".unfinished-"  # In the name of a folder for what is not whole yet; a killed process leaves it.
_LOCK = "lock"
_ATTEMPTS = 5
# What the names begin with that a process leaves which was killed before the folder was a run's.
_OF_A_CLAIM = (_LOCK, "flags.cfg.unfinished")


class RunDirectory:
    """Paths of a run, and the files that say what it is and what came of it. The end of its `with` ends its claim."""

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
        self._lock = None
        self._made = []

    def check(self, config: Config) -> None:
        """Checks that the folder is this experiment's, empty or not there yet.

        Raises:
            UsageError: If the folder holds something else, or is where pictures are read from.
        """
        here = self.path.resolve()
        if config.dataset == "folder" and config.data_dir and Path(config.data_dir).resolve() in (here, *here.parents):
            raise UsageError(
                f"--run_dir={self.path} is in --data_dir={config.data_dir}, where its pictures would become data; name "
                "a folder outside of it"
            )
        if self.flagfile.exists():
            there = self.recorded()
            recorded = there.identity()
            for name, value in config.identity().items():
                if recorded[name] != value:
                    begun, here = (
                        " ".join(flagging.as_arguments({name: found})) or f"no --{name}"
                        for found in (recorded[name], value)
                    )
                    raise UsageError(
                        f"--run_dir={self.path} holds another experiment: {begun} there, {here} here; name another "
                        "folder"
                    )
            if config.onednn not in ("auto", there.onednn):
                raise UsageError(
                    f"--run_dir={self.path} was begun with --onednn={there.onednn}; --onednn={config.onednn} would add "
                    "in another order: leave it out, or name another folder"
                )
        elif self.path.exists() and not self.path.is_dir():
            raise UsageError(f"--run_dir={self.path} is a file; name a folder")
        elif self.path.exists() and not all(path.name.startswith(_OF_A_CLAIM) for path in self.path.iterdir()):
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
            command = flagging.parse([Config], [f"--flagfile={self.flagfile}"])
            if command.rest:
                raise UsageError(f"{in_words(command.rest[0])} is no --flag=value")
            return command.options[0]
        except UsageError as error:
            raise UsageError(
                f"{self.flagfile} is no flagfile of this version ({error}); name another folder"
            ) from error

    def recorded_onednn(self) -> str | None:
        """Returns what the run was begun with, `"auto"` if that was not decided; None if the folder holds no run."""
        return self.recorded().onednn if self.flagfile.exists() else None

    def claim(self) -> None:
        """Makes the folder if it is missing and keeps other processes off it, until `release` or the process' end.

        To be called before anything in the folder is read: who holds the claim owns the run, whatever is in there.

        Raises:
            RunError: If another process trains in it, or it can't be made or written.
            UsageError: If it is a file.
        """
        from filelock import FileLock, Timeout

        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"--run_dir={self.path} is a file; name a folder")
        lock = FileLock(self.path / _LOCK, timeout=0)
        try:
            for attempt in range(_ATTEMPTS):
                try:
                    self._make()
                    lock.acquire()
                    break
                except FileNotFoundError:  # Another process gave up its claim and took the new folder away.
                    if attempt == _ATTEMPTS - 1:
                        raise
        except Timeout as error:
            raise RunError(f"--run_dir={self.path} is in use: another process trains in it") from error
        except (OSError, NotImplementedError) as error:
            there = self.path.is_dir() and self.path not in self._made
            self._unmake()
            raise RunError(
                f"--run_dir={self.path} can't be {'written' if there else 'created'} "
                f"({getattr(error, 'strerror', None) or error})"
            ) from error
        self._lock = lock

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.release()

    def release(self) -> None:
        """Lets others have the folder; one that was claimed for nothing, a mistyped flag say, vanishes again."""
        if self._lock is None:
            return
        if not self.flagfile.exists():
            # Before the lock is given back: who waits for a file that is gone sees that, and makes a new one.
            with contextlib.suppress(OSError):
                (self.path / _LOCK).unlink()
            self._unmake()
        self._lock.release()
        self._lock = None

    def _make(self):
        missing = [path for path in (self.path, *self.path.parents) if not path.exists()]
        for path in reversed(missing):
            with contextlib.suppress(FileExistsError):  # Another process was faster.
                path.mkdir()
                self._made.append(path)

    def _unmake(self):
        with contextlib.suppress(OSError):  # Something is in it by now.
            while self._made:
                self._made.pop().rmdir()

    def create(self, config: Config) -> None:
        """Makes the claimed folder this experiment's. Called late: a mistyped flag leaves nothing behind.

        What a killed process left half written of the run's own files goes: nobody else writes them.

        Raises:
            RunError: If it can't be written.
        """
        own = (self.flagfile, self.evaluations, self.curves, self.exported_teacher, self.results, self.networks)
        for left in (left for path in own for left in self.path.glob(f"{path.name}{UNFINISHED}{'[a-z0-9_]' * 8}")):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
        if not self.flagfile.exists():
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
    # TensorFlow: operation, path; reason [Op:...], and below it what it was about to do.
    first, *_ = str(error).splitlines() or [""]
    return " ".join(first.split()).split(" [Op:")[0].rsplit("; ", 1)[-1]


@contextlib.contextmanager
def unfinished_beside(path: Path) -> Iterator[Path]:
    """Makes a folder beside a path for what gets its name once it is whole; removes it at the end.

    Its name is new: nothing that is there already, whoever's it is, is written over or removed.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{path.name}{UNFINISHED}", dir=path.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file atomically, text in UTF-8. A link stays one: what it leads to is written.

    Raises:
        RunError: If it can't be written; what was there is kept.
    """
    target = Path(os.path.realpath(path))
    try:
        with unfinished_beside(target) as folder:
            with open(folder / target.name, "wb") as file:
                file.write(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(folder / target.name, target)
    except OSError as error:
        raise RunError(f"{path} can't be written ({error.strerror})") from error


def name_finished(finished: Path, path: Path) -> None:
    """Gives a finished file or folder its name, unless something has it: of two processes at once one succeeds.

    Raises:
        FileExistsError: If something has it.
    """
    if not finished.is_dir():
        path.touch(exist_ok=False)
        finished.replace(path)
        return
    try:
        finished.rename(path)  # Replaces nothing but an empty folder.
    except OSError as error:
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        raise
