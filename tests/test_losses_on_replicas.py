"""What a user's loss is multiplied by on replicas; `test_distribution.py` trains with such losses."""

import contextlib
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mt.losses_on_replicas import times_replicas

CLASSES, LOGITS = tf.constant([0, 1, 2]), tf.zeros((3, 3))
WHOLE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class TwoReplicas:
    """A strategy of two replicas, in whose scope this thread is."""

    num_replicas_in_sync = 2

    def __init__(self):
        self.thread = threading.local()
        self.thread.inside = True

    @contextlib.contextmanager
    def scope(self):
        self.thread.inside = True
        yield
        self.thread.inside = False


@pytest.fixture
def two_replicas(monkeypatch):
    one, two = tf.distribute.get_strategy(), TwoReplicas()
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: two if getattr(two.thread, "inside", False) else one)


def means(y_true, y_pred):
    return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True))


class Called(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return WHOLE(y_true, y_pred)


@pytest.mark.parametrize(
    ("loss", "factor"),
    [
        (means, 1.0),
        (lambda y, p: WHOLE(y, p), 2.0),
        (Called().call, 2.0),
        (Called(), 2.0),
        (WHOLE, 2.0),
        (WHOLE.call, 1.0),
    ],
    ids=[
        "its own mean",
        "a function that calls Keras' loss",
        "a method that does",
        "both",
        "Keras' loss",
        "its values",
    ],
)
def test_what_keras_divided_by_the_number_of_replicas_is_multiplied_by_it(two_replicas, loss, factor):
    assert times_replicas(loss, CLASSES, LOGITS) == factor


def test_on_one_replica_nothing_is_tried_out():
    def fails(*_):
        raise AssertionError

    assert times_replicas(fails, CLASSES, LOGITS) == 1.0


def test_a_loss_that_is_divided_in_part_is_refused(two_replicas):
    def parts(y_true, y_pred):
        return means(y_true, y_pred) + WHOLE(y_true, y_pred)

    with pytest.raises(ValueError, match="parts can't be seen to be either.* `reduction=None`.*Received: 2 replicas"):
        times_replicas(parts, CLASSES, LOGITS)


def test_a_loss_that_cannot_be_tried_out_is_refused(two_replicas):
    def odd(y_true, y_pred):
        raise ValueError("Not for such labels.")

    with pytest.raises(ValueError, match="odd can't be seen to be either"):
        times_replicas(odd, CLASSES, LOGITS)


def test_examples_have_the_shape_and_type_of_what_the_loss_is_given(two_replicas):
    seen = []

    def remembered(y_true, y_pred):
        seen.append((y_true.shape, y_true.dtype, y_pred.shape, y_pred.dtype))
        assert np.allclose(
            keras.ops.sum(keras.ops.cast(y_pred, "float32"), axis=-1), 1.0, atol=1e-2
        )  # Probabilities, too.
        return keras.ops.mean(y_pred)

    labels, outputs = tf.zeros((4, 5), tf.int64), tf.zeros((4, 5, 3), tf.bfloat16)
    assert times_replicas(remembered, labels, outputs) == 1.0
    assert seen == [((4, 5), tf.int64, (4, 5, 3), tf.bfloat16)] * 2
