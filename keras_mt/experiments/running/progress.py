import sys
import time

from keras_mt.experiments.running.steps import StepCallback


def report(text: str) -> None:
    """Prints a line; one that ends in a carriage return is progress, and shown on a terminal only."""
    if not text.endswith("\r"):
        print(text.ljust(90), flush=True)
    elif sys.stdout.isatty():
        print("\r" + text[:-1].ljust(90), end="\r", flush=True)


class ProgressBar(StepCallback):
    """Says when the first step is done; on a terminal also a bar over the whole run with the time left."""

    def __init__(self, first_step: int, last_step: int):
        super().__init__(first_step, last_step)
        self._started = self._shown = time.monotonic()
        self._said = False

    def on_step_end(self, step, logs):
        now = time.monotonic()
        if not self._said:
            self._said = True
            report(f"first step done after {now - self._started:.1f} s")
        if now - self._shown < 0.5 or not sys.stdout.isatty():
            return
        self._shown = now
        filled = 30 * step // self.last_step
        bar = "━" * filled + " " * (30 - filled)
        report(f"{bar} {step}/{self.last_step}  loss {logs['loss']:.3f}  {self.time_left()} left\r")
