"""What an augmentation does to examples, found out by trying it: whether it moves what is in them, or mixes them."""

import keras
import numpy as np
import tensorflow as tf

from keras_mt.views import STUDENT_VIEW, Augmentation

_PROBES = 16


def moves_pictures(augmentation: Augmentation, shape: tuple, axes: int | None = None, like=None) -> bool:
    """Whether an augmentation moves what is in an example to another place of it, by a pixel or more.

    Seen by what it does: of random examples one pixel is changed, and both are augmented under the same noise. Where
    the changed pixel then stands out is where it was moved to.

    Args:
        augmentation: The augmentation.
        shape: Shape of one example, `(height, width, channels)`, or other axes before the channels.
        axes: How many of the first axes matter, by default all but the channels.
        like: A structure with one part, in which the augmentation takes the examples; None for a tensor.
    """
    axes = len(shape) - 1 if axes is None else axes
    examples = np.random.default_rng(0).uniform(0.2, 0.3, (_PROBES, *shape)).astype("float32")
    repeats = all(np.array_equal(*(_view(augmentation, examples, 0, like) for _ in range(2))) for _ in range(2))
    for place in (tuple(size // 4 for size in shape[:-1]), tuple(min(1, size - 1) for size in shape[:-1])):
        changed = examples.copy()
        changed[(slice(None), *place)] = 0.9
        differences = []
        for step in range(3 if repeats else 12):
            views = [_view(augmentation, part, step, like) for part in (examples, changed)]
            if views[0].shape[1 : 1 + axes] != tuple(shape[:axes]):
                return True  # Cropped or resized.
            differences.append((views[1].astype("float64") - views[0]).reshape(_PROBES, *views[0].shape[1:]))
        differences = np.concatenate(differences)
        if not repeats:
            if _stands_out_elsewhere(differences.sum(axis=-1), place, axes):
                return True
            continue
        for difference in np.abs(differences).sum(axis=-1):
            found = np.unravel_index(difference.argmax(), difference.shape)
            if difference.max() > 1e-3 and found[:axes] != place[:axes]:
                return True
    return False


def _view(augmentation, examples, step, like):
    """One view, drawn alike each time as far as randomness can be set from outside."""
    step = tf.constant(step, "int64")

    def view_of(batch):
        given = batch if like is None else keras.tree.pack_sequence_as(like, [batch])
        return keras.tree.flatten(augmentation(given, step=step, view=STUDENT_VIEW))[0]

    if augmentation.draws_by_seed:
        return np.asarray(view_of(tf.constant(examples)))
    state, key = np.random.get_state(), int(step)

    @tf.function  # A function traced anew starts its draws anew; the program's own seed stays as it is.
    def view(batch):
        tf.random.set_seed(key)
        return view_of(batch)

    try:
        np.random.seed(key)
        return np.asarray(view(tf.constant(examples)))
    finally:
        np.random.set_state(state)


def _stands_out_elsewhere(differences, place, axes):
    """The same for draws that can't be repeated: on average over examples, noise cancels and movement does not."""
    mean = differences.mean(axis=0)
    error = differences.std(axis=0) / np.sqrt(len(differences))
    found = np.argwhere((np.abs(mean) > 6 * error) & (np.abs(mean) > 0.2 * np.abs(mean).max()))
    return bool(found.size) and bool((np.abs(found - np.array(place))[:, :axes] > 1).any())


def mixes_examples(augmentation: Augmentation, shape: tuple, like=None) -> bool:
    """Whether an augmentation puts parts of an example into others, as mixup and CutMix do.

    Args:
        augmentation: The augmentation.
        shape: Shape of one example.
        like: As `moves_pictures` has it.
    """
    examples = np.random.default_rng(0).uniform(0.2, 0.3, (_PROBES, *shape)).astype("float32")
    changed = examples.copy()
    changed[::2] = 0.9
    if not np.array_equal(*(_view(augmentation, examples, 0, like) for _ in range(2))):
        return False  # Its draws can't be repeated.
    for step in range(3):
        views = [_view(augmentation, part, step, like).astype("float64") for part in (examples, changed)]
        if np.abs(views[1] - views[0])[1::2].max() > 1e-3:
            return True
    return False
