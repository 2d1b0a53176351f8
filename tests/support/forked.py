"""Processes that begin with TensorFlow imported, which spares each of them five seconds: forked from one that is idle.

Devices are not set yet, and signals end them, as in a process of their own. Not for tests of its first seconds, of
variables that TensorFlow reads when it is imported, nor of what comes after its last line: they end at once.
"""

import faulthandler
import multiprocessing
import os
import runpy
import signal
import sys
import threading
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["keras_mt.experiments.train", "support.forked"])


class Forked:
    """A process, with the names that those of `subprocess.Popen` have.

    Args:
        command: `("-m", module)` or the path of a script, and its arguments.
        cwd: Its working directory.
        **environment: Variables beside those of this process.
    """

    def __init__(self, *command, cwd=ROOT, **environment):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2", **environment}
        streams = [multiprocessing.Pipe(duplex=False) for _ in range(2)]
        self.stdout, self.stderr = (os.fdopen(os.dup(to_read.fileno()), errors="replace") for to_read, _ in streams)
        arguments = ([str(part) for part in command], str(cwd), environment, [to_write for _, to_write in streams])
        self._process = _SERVER.Process(target=_run, args=arguments)
        # The server's own, which it reads when it imports TensorFlow, that tells of processors and drivers else.
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        with mock.patch.dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", PYTHONPATH=path):
            self._process.start()
        for ends in streams:
            for end in ends:
                end.close()
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    poll = returncode.fget

    def wait(self, timeout=None):
        self._process.join(timeout)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout=None):
        """Returns what it wrote; a process that has not ended by then is killed."""
        said = {}
        readers = [
            threading.Thread(target=lambda name=name, file=file: said.update({name: file.read()}))
            for name, file in (("out", self.stdout), ("err", self.stderr))
        ]
        for reader in readers:
            reader.start()
        ended = self.wait(timeout) is not None
        self.kill()
        for reader in readers:
            reader.join()
        assert ended, f"it has not ended in {timeout} s: {said['err'][-3000:]}"
        return said["out"], said["err"]


def _run(command, cwd, environment, streams):
    for number, stream in enumerate(streams, 1):
        os.dup2(stream.fileno(), number)
        stream.close()
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    faulthandler.enable()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")
