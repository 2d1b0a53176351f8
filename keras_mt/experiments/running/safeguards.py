"""Stops a run in time: when it is told to, and when it has become worthless."""

import math
import signal
import threading

from keras_mt.experiments.errors import Interrupted
from keras_mt.experiments.running.checkpoints import Checkpoints
from keras_mt.experiments.running.steps import StepCallback
from keras_mt.experiments.running.workers import Workers

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption(StepCallback):
    """On SIGTERM or SIGINT finishes the step (and the evaluation under way), saves, and ends the run.

    Listens where it is entered (`with interruption:`). A second signal ends the run at once.

    Args:
        checkpoints: Save the run.
        workers: All end with the one that was told to.
    """

    def __init__(self, checkpoints: Checkpoints, workers: Workers):
        super().__init__(checkpoints.step, checkpoints.last_step)
        self._checkpoints = checkpoints
        self._workers = workers
        self._received = 0
        self._handlers = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # Others may not set handlers.
            self._handlers = {number: signal.signal(number, self._receive) for number in _SIGNALS}
        return self

    def __exit__(self, *error):
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _receive(self, number, frame):
        self._received = number
        self.__exit__()

    def on_step_end(self, step, logs):
        if not self._checkpoints.evaluation_follows():
            self._stop_if_told()

    def on_epoch_end(self, epoch, logs=None):
        self._stop_if_told()

    def _stop_if_told(self):
        received = max(row[0] for row in self._workers.all_gather([self._received]))
        if received:
            self._checkpoints.save()
            self._workers.barrier()  # All leave together.
            raise Interrupted(received, self.step)


class LossWatch(StepCallback):
    """Ends a run whose loss is NaN or infinite, before a checkpoint could hold it.

    Args:
        checkpoints: Say what is kept.
    """

    def __init__(self, checkpoints: Checkpoints):
        super().__init__(checkpoints.step, checkpoints.last_step)
        self._checkpoints = checkpoints

    def on_step_end(self, step, logs):
        # The mean over the epoch so far, which one such step is enough to spoil.
        if not math.isfinite(logs["loss"]):
            self._checkpoints.end_with(f"the loss became {logs['loss']} in step {step}")
