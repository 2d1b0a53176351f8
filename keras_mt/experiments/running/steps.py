"""Where in the whole run a callback is, whatever part of it `fit` is training."""

import time

import keras


class StepCallback(keras.callbacks.Callback):
    """A callback that counts the optimizer steps of the whole run. Subclasses may define `on_step_end(step, logs)`.

    It counts itself: asking the model would fetch a number from the device in each step.

    Args:
        first_step: The step the run begins or continues at.
        last_step: The step it ends at.
    """

    def __init__(self, first_step: int, last_step: int):
        super().__init__()
        self.step = first_step
        self.last_step = last_step
        self._measured_from = None

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if self._measured_from is None:  # The first step holds the tracing.
            self._measured_from = self.step, time.monotonic()
        self.on_step_end(self.step, logs or {})

    def on_step_end(self, step: int, logs: dict) -> None:
        """Called after each step."""

    def seconds_per_step(self) -> float | None:
        """Returns the mean since the second step of this process, evaluations included; None before its end."""
        step, since = self._measured_from or (self.step, 0.0)
        return (time.monotonic() - since) / (self.step - step) if self.step > step else None

    def time_left(self) -> str:
        """Returns an estimate as h:mm:ss; the clock may jump, so a monotonic one is asked."""
        seconds_per_step = self.seconds_per_step()
        if seconds_per_step is None:
            return "unknown time"
        seconds = round(seconds_per_step * (self.last_step - self.step))
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
