"""What a user's loss is multiplied by on replicas; `test_distribution.py` trains with such losses."""

import contextlib
import threading

import keras
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

    with pytest.raises(ValueError, match="loss parts is divided by.* `reduction=None`.*Received: 2 replicas"):
        times_replicas(parts, CLASSES, LOGITS)


def rare(y_true, y_pred):
    """As of hard examples, or errors beyond a margin: 0 for many batches."""
    return keras.ops.mean(keras.ops.maximum(keras.ops.abs(y_true - y_pred) - 100.0, 0.0))


def fails(y_true, y_pred):
    raise ValueError("Not for such labels.")


def noisy(y_true, y_pred):
    return keras.ops.mean(keras.random.normal(keras.ops.shape(y_pred)) * y_pred)


@pytest.mark.parametrize("loss", [rare, fails, noisy], ids=lambda loss: loss.__name__)
def test_a_loss_of_which_nothing_shows_is_taken_as_it_is(two_replicas, loss):
    assert times_replicas(loss, tf.zeros((4, 3)), tf.zeros((4, 3))) == 1.0


def positives(y_true, y_pred):
    """Only classes that are 1 count, so that labels have to be classes."""
    mask = keras.ops.cast(y_true == 1.0, "float32")
    return keras.ops.sum(mask * keras.ops.softplus(-y_pred)) / keras.ops.maximum(keras.ops.sum(mask), 1.0)


def hardest(y_true, y_pred):
    return keras.ops.mean(keras.ops.top_k(keras.ops.abs(y_true - y_pred)[:, 0], 32)[0])


@pytest.mark.parametrize("loss", [positives, hardest], ids=lambda loss: loss.__name__)
def test_a_loss_of_some_labels_or_many_rows_is_tried_out_with_them(two_replicas, loss):
    assert times_replicas(loss, tf.TensorSpec((None, 1)), tf.TensorSpec((None, 1))) == 1.0
    assert times_replicas(lambda y, p: loss(y, p) / halves(), tf.TensorSpec((None, 1)), tf.TensorSpec((None, 1))) == 2.0


def halves():
    return tf.distribute.get_strategy().num_replicas_in_sync


def test_what_a_loss_keeps_is_put_back_and_it_is_tried_out_once(two_replicas):
    seen, calls = tf.Variable(0.0), []

    def counting(y_true, y_pred):
        calls.append(1)
        seen.assign_add(1.0)
        return seen * keras.ops.mean(y_pred)

    for _ in range(3):
        assert times_replicas(counting, CLASSES, LOGITS) == 1.0
    assert seen.numpy() == 0.0
    assert len(calls) == 6  # Alone, again and with replicas, each on two examples.


@pytest.mark.parametrize("dtype", [tf.int64, tf.float32])
def test_examples_have_the_shape_and_type_of_what_the_loss_is_given(two_replicas, dtype):
    seen = set()

    def remembered(y_true, y_pred):
        seen.add((tuple(y_true.shape), y_true.dtype, tuple(y_pred.shape), y_pred.dtype))
        return keras.ops.mean(y_pred)

    labels, outputs = tf.zeros((4, 5), dtype), tf.zeros((4, 5, 3), tf.bfloat16)
    assert times_replicas(remembered, labels, outputs) == 1.0
    assert seen == {((4, 5), dtype, (4, 5, 3), tf.bfloat16)}
