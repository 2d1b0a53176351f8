"""Whether outputs are probabilities where no layer shows it: they stay in [0, 1] under whatever weights."""

import keras
import numpy as np

from keras_mt.teacher import answers

# Of logits of one column all rows are in [0, 1] in one draw of four; the larger ones are for small inputs and outputs.
_SIZES = (*[2.0] * 8, *[2e2] * 4, *[2e4] * 4, *[2e6] * 4)


def stays_in_unit_interval(student: keras.Model, x, place: int) -> bool:
    """Whether an output is in [0, 1] under random weights too, which logits leave in one of the first draws.

    Args:
        student: The student; its weights are put back.
        x: A few examples as it takes them.
        place: Which of its flattened outputs.
    """
    weights = [w for w in student.trainable_weights if keras.backend.is_float_dtype(w.dtype)]
    kept, random, moved = [w.numpy() for w in weights], np.random.default_rng(0), False
    before = _numbers(student, x, place)
    try:
        for size in _SIZES:
            for weight, value in zip(weights, kept, strict=True):
                noise = random.normal(size=value.shape) * size / np.sqrt(_fan_in(value.shape))
                weight.assign((value.astype("float32") + noise).astype(value.dtype))
            values = _numbers(student, x, place)
            if not np.isfinite(values).all():  # Too large for the type; nothing shows then.
                continue
            if not ((values >= 0) & (values <= 1)).all():
                return False
            moved = moved or not np.array_equal(values, before)
    except Exception:  # Whatever the network's own code raises under such weights: nothing is known then.
        return False
    finally:
        for weight, value in zip(weights, kept, strict=True):
            weight.assign(value)
    return moved


def _numbers(student, x, place):
    return keras.ops.convert_to_numpy(answers(student, x)[0][place]).astype("float64")


def _fan_in(shape):
    return np.prod(shape[:-1], initial=1) if len(shape) > 1 else 1
