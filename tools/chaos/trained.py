"""Runs of the training program, what each left behind, and in what one differs from one that was left alone."""

import faulthandler
import hashlib
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(folder) for folder in (_ROOT, _ROOT / "tests")]

from support.programs import ROOT, TINY  # noqa: E402 - the same runs as those of the tests.

PATIENCE = 600.0  # Seconds for one run.

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


class Program:
    """A program of the package in a process of its own, as a user starts it.

    Args:
        name: Which program.
        arguments: Its command line.
        environment: Variables beside those of this process.
    """

    def __init__(self, name: str, arguments, **environment: str):
        self._said, self._errors = (os.memfd_create(name) for name in ("stdout", "stderr"))
        self._start(name, arguments, environment)

    def _start(self, name, arguments, environment):
        command = [sys.executable, "-m", f"keras_mt.{name}", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=self._said, stderr=self._errors, env=environment)

    def status(self) -> int | None:
        """Returns the exit status; None while the process runs."""
        return self._process.poll()

    def finish(self) -> int:
        """Waits for the end and returns the exit status."""
        until = time.monotonic() + PATIENCE
        while self.status() is None:
            if time.monotonic() > until:
                self.kill()
            time.sleep(0.01)
        return self.status()

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process, unless it has ended."""
        if self.status() is None:
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        """Ends the process at once."""
        self.send(signal.SIGKILL)
        self.finish()

    def kill_when(self, happened: Callable[[], bool]) -> bool:
        """Ends the process as soon as something has happened; returns whether that was in its lifetime."""
        while not (there := happened()) and self.status() is None:
            time.sleep(0.0002)
        self.kill()
        return there

    def said(self) -> str:
        """Returns what it wrote to stdout."""
        return _text(self._said)

    def errors(self) -> str:
        """Returns what it wrote to stderr."""
        return _text(self._errors)

    def __del__(self):
        for file in (self._said, self._errors):
            os.close(file)

    def refusal(self) -> str | None:
        """Returns the one sentence with which it ended; None where it ended otherwise."""
        sentences = [line for line in self.errors().splitlines() if line.startswith("error: ")]
        traced = "Traceback" in self.errors()
        return sentences[0] if self.status() == 1 and len(sentences) == 1 and not traced else None

    def how_it_ended(self) -> str:
        """Returns status and last words."""
        words = self.errors().strip().splitlines() or self.said().strip().splitlines() or [""]
        return f"status {self.status()}, {words[-1][:300]!r}"


class QuickProgram(Program):
    """The same, forked from this process, which has imported TensorFlow: five seconds less, and a small network."""

    def _start(self, name, arguments, environment):
        import keras_mt.experiments.train  # noqa: F401  Once, for all of them.

        process = multiprocessing.get_context("fork").Process(target=self._run, args=(name, arguments, environment))
        process.start()
        self._process = process

    def status(self):
        return self._process.exitcode

    def _run(self, name, arguments, environment):
        from small_network import small_network

        from keras_mt.experiments import cli
        from keras_mt.experiments.running import experiment

        for file, number in ((self._said, 1), (self._errors, 2)):
            os.dup2(file, number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        faulthandler.enable()
        os.environ.update(environment)
        experiment.ARCHITECTURES["convnet13"] = small_network
        cli.main(name, arguments)


def _text(file):
    return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")


def train(run: Path, *flags: str, **environment: str) -> Program:
    """Starts a run of `TINY`."""
    return Program("train", [*TINY, *flags, f"--run_dir={run}"], **environment)


def train_quickly(run: Path, *flags: str, **environment: str) -> Program:
    """Starts a run of `TINY` with a small network, where it is of no interest how a process begins."""
    return QuickProgram("train", [*TINY, *flags, f"--run_dir={run}"], **environment)


class Undisturbed:
    """Runs that were left alone, each made when it is first asked for.

    Args:
        folder: Where they are.
        train: `train` or `train_quickly`.
    """

    def __init__(self, folder: Path, train: Callable[..., Program]):
        self._folder = folder
        self.train = train
        self._made = {}

    def __call__(self, *flags: str) -> Path:
        if flags not in self._made:
            run = self._folder / f"undisturbed-{self.train.__name__}-{len(self._made)}"
            program = self.train(run, *flags)
            if program.finish():
                raise SystemExit(f"a run that was left alone failed: {program.how_it_ended()}")
            self._made[flags] = run
        return self._made[flags]

    def cut_off(self, run: Path) -> Path:
        """Returns a copy of the run as if it had been ended after step 8, of files that come later those of then."""
        shutil.copytree(self(), run)
        shutil.rmtree(run / "checkpoints" / "step-12")
        (run / "results.json").unlink()
        return run


def differences(run: Path, other: Path) -> str:
    """Returns in what a finished run is not the other: files, weights bit for bit, what the files say; "" for equal."""
    here, there = (_content(path) for path in (run, other))
    missing, more = sorted(there.keys() - here.keys()), sorted(here.keys() - there.keys())
    changed = sorted(name for name in here.keys() & there.keys() if here[name] != there[name])
    found = {"lacks": missing, "has": more, "differs in": changed}
    return "; ".join(f"{what} {', '.join(names[:3])}" for what, names in found.items() if names)


def _content(run):
    """A fingerprint of each file, by its name without what differs between runs by nature."""
    content = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        name = str(path.relative_to(run))
        if name.startswith("events/"):  # Their names hold the time, their records, too.
            content[re.sub(r"events\.out.*", "events", name)] = ""
        elif path.suffix == ".index":  # A checkpoint is compared by its tensors.
            content[name] = _tensors(path.with_suffix(""))
        elif ".data-" in name or path.name in ("saved_model.pb", "fingerprint.pb", "lock"):
            content[name] = ""
        else:  # A flagfile begins with where it was first written.
            lines = path.read_bytes().splitlines()[path.name == "flags.cfg" :]
            lines = [line for line in lines if not line.startswith(b'  "seconds_per_step"')]
            content[name] = hashlib.sha256(b"\n".join(lines)).hexdigest()
    return content


def _tensors(checkpoint):
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(checkpoint))
        tensors = {name: reader.get_tensor(name) for name in reader.get_variable_to_dtype_map()}
    except Exception as error:  # TensorFlow raises many kinds for damaged files.
        return type(error).__name__
    # Keras numbers the variables of an export in the order of a set; bytes describe objects.
    named = [
        (name if not name.startswith("_all_variables/") else "", value.tobytes())
        for name, value in tensors.items()
        if not isinstance(value, bytes)
    ]
    return hashlib.sha256(repr(sorted(named)).encode()).hexdigest()


def same_command(run: Path, undisturbed: Undisturbed, *flags: str) -> str:
    """Gives the command again; returns in what the run then differs from one that was left alone."""
    program = undisturbed.train(run, *flags)
    if program.finish():
        return f"the same command ended with {program.how_it_ended()}"
    return differences(run, undisturbed(*flags))
