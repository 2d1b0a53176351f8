"""Repetitions in turn, medians and their spread."""

import time
from collections.abc import Callable

import numpy as np
from tqdm import tqdm

_FEWEST = 3  # Repetitions.


class TimeLeft:
    """Shares of the time that is left, for parts that run one after the other: what one takes too long, others lack.

    Args:
        seconds: For all parts.
        shares: The parts in their order, and their shares.
    """

    def __init__(self, seconds: float, shares: dict[str, float]):
        self._end = time.perf_counter() + seconds
        self._shares = dict(shares)

    def of(self, part: str) -> float:
        """Returns the seconds that a part may take, which begins now."""
        share = self._shares[part] / sum(self._shares.values())
        del self._shares[part]
        return max(0.0, share * (self._end - time.perf_counter()))


def interleaved(actions: dict[str, Callable[[], object]], repetitions: int, most: float) -> dict[str, list[float]]:
    """Runs all actions in turn, after a first time that is not counted.

    Args:
        actions: What is run, by name.
        repetitions: How often.
        most: Seconds beyond which no further turn would end, once there are three.

    Returns:
        The seconds of each, by name.
    """
    seconds = {name: [] for name in actions}
    end, longest = time.perf_counter() + most, 0.0
    with tqdm(total=len(actions) * (1 + repetitions), unit=" measured", mininterval=5) as bar:
        for turn in range(1 + repetitions):
            begun = time.perf_counter()
            if turn > _FEWEST and begun + longest > end:
                break
            for name, action in actions.items():
                bar.set_postfix_str(name, refresh=False)
                start = time.perf_counter()
                action()
                seconds[name].append(time.perf_counter() - start)
                bar.update()
            longest = max(longest, time.perf_counter() - begun) if turn else 0.0
    return {name: counted for name, (_, *counted) in seconds.items()}


def spreads(seconds: dict[str, list[float]]) -> dict[str, tuple[float, float, float]]:
    """Returns median and limits of the middle half of each action's times."""
    return {name: tuple(np.percentile(values, [50, 25, 75])) for name, values in seconds.items()}


def ratio(seconds: dict[str, list[float]], above: str, below: str) -> float:
    """Returns the median over repetitions of the ratio of two actions that ran next to each other."""
    return float(np.median(np.divide(seconds[above], seconds[below])))
