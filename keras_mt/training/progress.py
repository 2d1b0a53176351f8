import sys
import time

import keras

from keras_mt.training.evaluation_log import format_seconds


class ProgressBar(keras.callbacks.Callback):
    """A bar over the whole run with the time left; only on a terminal, where it overwrites itself.

    Args:
        last_step: Length of the run in steps.
    """

    def __init__(self, last_step: int):
        super().__init__()
        self.last_step = last_step
        self._shown = self._started = time.monotonic()
        self._first_step = None

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        if now - self._shown < 0.5 or not sys.stdout.isatty():
            return
        self._shown = now
        step = int(self.model.batches_seen)
        if self._first_step is None:  # The first steps hold the tracing.
            self._first_step, self._started = step, now
            return
        left = (now - self._started) / max(step - self._first_step, 1) * (self.last_step - step)
        filled = 30 * step // self.last_step
        bar = "━" * filled + " " * (30 - filled)
        loss = f"{float(logs['loss']):.3f}" if logs and "loss" in logs else ""
        print(f"\r{bar} {step}/{self.last_step}  loss {loss}  {format_seconds(left)} left ", end="", flush=True)
