"""Two processes, one new run directory."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

from trained import Undisturbed, differences, train

DELAYS = (0, 0.2, 0.5, 1.5)
STOPS = (0.1, 0.2, 0.3, 0.5)


def starts(folder: Path, undisturbed: Undisturbed) -> Iterator[tuple[str, str]]:
    """The second starts up to 1.5 s after the first; it has the same flags, or others."""
    for delay in DELAYS:
        for flags in ((), ("--seed=1",)):
            run = folder / f"after-{delay}{'-other' if flags else ''}"
            first = train(run)
            time.sleep(delay)
            yield (
                f"second after {delay} s, {flags or 'equal flags'}",
                _answer(run, first, train(run, *flags), flags, undisturbed),
            )


def delayed_claims(folder: Path, undisturbed: Undisturbed) -> Iterator[tuple[str, str]]:
    """The first is stopped in its first half second, about to claim, and goes on after the second has started."""
    for number, stop in enumerate(STOPS):
        flags = ("--seed=1",) if number % 2 else ()
        run = folder / f"stopped-{stop}"
        first = train(run)
        time.sleep(stop)
        first.send(signal.SIGSTOP)
        second = train(run, *flags)
        time.sleep(3)
        first.send(signal.SIGCONT)
        yield f"first stopped after {stop} s, {_named(flags)}", _answer(run, first, second, flags, undisturbed)


def _named(flags):
    return " ".join(flags) or "equal flags"


def _answer(run, first, second, flags, undisturbed):
    statuses = [first.finish(), second.finish()]
    if sorted(statuses) != [0, 1]:
        return f"statuses {statuses}: {first.how_it_ended()}; {second.how_it_ended()}"
    winner = statuses.index(0)
    sentence = (first, second)[1 - winner].refusal()
    if sentence != f"error: --run_dir={run} is in use: another process trains in it":
        return f"the other was answered {sentence!r}"
    return differences(run, undisturbed(*(flags if winner else ())))
