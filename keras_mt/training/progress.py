import sys
import time

import keras

from keras_mt.training.evaluation_log import format_seconds


def report(text: str) -> None:
    """Prints a line; one that ends in a carriage return is progress, and shown on a terminal only."""
    if not text.endswith("\r"):
        print(text.ljust(90), flush=True)
    elif sys.stdout.isatty():
        print("\r" + text[:-1].ljust(90), end="\r", flush=True)


class ProgressBar(keras.callbacks.Callback):
    """Says when the first step is done; on a terminal also a bar over the whole run with the time left.

    Args:
        last_step: Length of the run in steps.
    """

    def __init__(self, last_step: int):
        super().__init__()
        self.last_step = last_step
        self._shown = self._started = time.monotonic()
        self._first_step = None
        self._said = False

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        if not self._said:
            self._said = True
            report(f"first step done after {now - self._started:.1f} s")
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
