"""Arrangements of options that cover all pairs: for tests of options together."""

import itertools

import numpy as np


def covering(axes: dict[str, tuple], full: tuple[str, ...], valid, seed: int = 0) -> list[dict]:
    """Returns rows with the whole product of some axes, whose other values cover each valid pair of values.

    Args:
        axes: Values of each axis; the first is the plain one.
        full: Axes whose product is taken whole.
        valid: From a row, perhaps with some axes only, to whether it may be trained.
        seed: Of the choices between equals.

    Returns:
        The rows, from each axis to a value.
    """
    random = np.random.default_rng(seed)
    others = [axis for axis in axes if axis not in full]
    open_pairs = {
        pair
        for a, b in itertools.combinations(axes, 2)
        for pair in (((a, u), (b, v)) for u in axes[a] for v in axes[b])
        if not (a in full and b in full) and valid(dict(pair))
    }
    order = list(axes)
    rows = [dict(zip(full, values, strict=True)) for values in itertools.product(*(axes[axis] for axis in full))]
    for row in rows:
        if not valid(row):
            continue
        for axis in random.permutation(others):
            choices = [value for value in axes[axis] if valid({**row, axis: value})]
            gains = [sum(_pair(order, axis, v, other, row[other]) in open_pairs for other in row) for v in choices]
            row[axis] = choices[int(np.argmax(np.array(gains) + random.uniform(0, 0.9, len(gains))))]
        open_pairs -= set(pairs_of(order, row))
    return [{axis: row[axis] for axis in order} for row in rows if len(row) == len(axes)]


def pairs_of(order: list[str], row: dict) -> list[tuple]:
    """Returns the pairs of (axis, value) that a row holds."""
    return [_pair(order, a, row[a], b, row[b]) for a, b in itertools.combinations(row, 2)]


def _pair(order, a, u, b, v):
    return ((a, u), (b, v)) if order.index(a) < order.index(b) else ((b, v), (a, u))
