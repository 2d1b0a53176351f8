import sys
import time

from tqdm import tqdm

from keras_mt.experiments.running.steps import StepCallback

# Steps, rate and time left before what may be cut off on a narrow terminal.
_BAR = "{n_fmt}/{total_fmt} {bar:12} {rate_noinv_fmt}, {remaining} left{postfix}"


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
    """Says how long the first step was compiled; on a terminal also a bar over the whole run.

    The bar shows steps a second, the time left, the costs of the epoch so far, and the errors of the last evaluation.
    """

    def __init__(self, first_step: int, last_step: int):
        super().__init__(first_step, last_step)
        self._started = time.monotonic()
        self._bar = None
        self._errors = ""
        if first_step < last_step:
            report("compiling the first step ...\r")

    def on_step_end(self, step, logs):
        if self._bar is None:
            report(f"compiling the first step took {time.monotonic() - self._started:.1f} s")
            # disable=None: no bar without a terminal.
            self._bar = tqdm(
                total=self.last_step,
                initial=step,
                unit=" steps",
                mininterval=0.5,
                file=sys.stdout,
                disable=None,
                bar_format=_BAR,
                nrows=24,  # Of a terminal that says it has none, such as that of a container, tqdm would show nothing.
            )
        else:
            self._bar.set_postfix_str(_costs(logs) + self._errors, refresh=False)
            self._bar.update()
        if step == self.last_step:
            self._bar.close()

    def on_epoch_end(self, epoch, logs=None):
        errors = {name: (logs or {}).get(f"val_{name}_error") for name in ("student", "teacher")}
        if None not in errors.values():
            self._errors = "; " + ", ".join(f"{name} {100 * float(error):.2f} %" for name, error in errors.items())


def _costs(logs):
    words = f"loss {logs['loss']:.3f}"
    if "consistency_cost" in logs:
        words += f" (labels {logs['classification_cost']:.3f}, consistency {logs['consistency_cost']:.3f})"
    return words
