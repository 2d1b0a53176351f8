"""The folder of a run: what is in it, and whose run it is."""

import json
import os
import tempfile
from pathlib import Path

from keras_mt.training import settings
from keras_mt.training.program import UsageError
from keras_mt.training.settings import FLAGS


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

    def check(self) -> None:
        """Checks that the folder is this experiment's, empty or not there yet.

        Raises:
            UsageError: If the folder holds something else.
        """
        if self.flagfile.exists():
            recorded = self._recorded_flags()
            for name, value in settings.of_the_experiment().items():
                if recorded.get(name) != FLAGS[name].serialize():
                    raise UsageError(
                        f"--run_dir={self.path} holds another experiment: {recorded.get(name) or f'no --{name}'} "
                        f"there, {FLAGS[name].serialize() or f'--{name}={value}'} here; name another folder"
                    )
        elif self.path.exists() and any(self.path.iterdir()):
            raise UsageError(f"--run_dir={self.path} is not empty and no run's folder; name another folder")

    def create(self) -> None:
        """Makes the folder this experiment's. Called late: a mistyped flag leaves nothing behind."""
        if not self.flagfile.exists():
            self.path.mkdir(parents=True, exist_ok=True)
            lines = [FLAGS[name].serialize() for name in settings.names() if name != "run_dir"]
            command = f"python -m keras_mt.train --flagfile={self.flagfile} --run_dir=..."
            write_atomically(self.flagfile, "\n".join([f"# {command} repeats this run.", *filter(None, lines), ""]))

    def _recorded_flags(self):
        lines = self.flagfile.read_text().splitlines()
        flags = [line for line in lines if line.startswith("--")]
        recorded = {}
        for line in flags:
            name = line[2:].split("=")[0]
            recorded[name if name in FLAGS else name.removeprefix("no")] = line
        # A flag without a value is not written, and one that came with a later version had its default.
        return {name: recorded.get(name, settings.default_of(name)) for name in settings.names()}

    def write_results(self, results: dict) -> None:
        """Writes results.json."""
        write_atomically(self.results, json.dumps(results, indent=2) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(text)
    os.replace(file.name, path)
