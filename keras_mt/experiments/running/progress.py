import sys
import time

from tqdm import tqdm

from keras_mt.experiments.running.steps import StepCallback


def report(text: str) -> None:
    """Prints a line, above the bar if there is one.

    Args:
        text: The line. One that ends in a carriage return is progress, which the next overwrites: it is shown on a
            terminal only.
    """
    on_terminal = sys.stdout.isatty()
    if not text.endswith("\r"):
        tqdm.write(text.ljust(90) if on_terminal else text)
        sys.stdout.flush()
    elif on_terminal:
        print("\r" + text[:-1].ljust(90), end="\r", flush=True)


class ProgressBar(StepCallback):
    """Says when the first step is done; on a terminal also a bar over the whole run with the time left."""

    def __init__(self, first_step: int, last_step: int):
        super().__init__(first_step, last_step)
        self._started = time.monotonic()
        self._bar = None

    def on_step_end(self, step, logs):
        if self._bar is None:
            report(f"first step done after {time.monotonic() - self._started:.1f} s")
            # disable=None: no bar without a terminal.
            self._bar = tqdm(
                total=self.last_step, initial=step, unit="step", mininterval=0.5, file=sys.stdout, disable=None
            )
        else:
            self._bar.set_postfix_str(f"loss {logs['loss']:.3f}", refresh=False)
            self._bar.update()
        if step == self.last_step:
            self._bar.close()
