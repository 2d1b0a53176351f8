"""Labels of a hinge loss are 0 and 1, and a column of yes alone is warned of."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mt

# Labels of a hinge loss -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", keras.losses.SquaredHinge(name="mine"), keras.losses.hinge])
@pytest.mark.parametrize("in_batches", [False, True])
def test_the_labels_that_keras_takes_for_a_hinge_loss_are_refused(loss, in_batches):
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    signs = np.where(x[:, :1] > 0, 1, -1)
    model = keras_mt.MeanTeacher(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]), task="multilabel")
    model.compile(loss=loss)
    data = (tf.data.Dataset.from_tensor_slices((x, signs)).batch(64),) if in_batches else (x, signs)
    with pytest.raises(ValueError, match=r"must hold 0 for no and 1 for yes with a hinge loss; -1 is unlabeled"):
        model.fit(*data, verbose=0)


def test_a_hinge_loss_of_0_and_1_is_that_of_their_signs():
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    labels = np.array([0, 1, 1, 0, -1, -1, -1, -1])[:, None]
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model = keras_mt.MeanTeacher(student, task="multilabel", method="supervised")
    model.compile(keras.optimizers.SGD(0.0), loss="hinge")
    cost = model.fit(x, labels, batch_size=8, verbose=0).history["classification_cost"][0]
    signs = 2.0 * labels[:4] - 1.0
    expected = np.maximum(1.0 - signs * model.student(x[:4]).numpy(), 0.0).sum() / 8
    np.testing.assert_allclose(cost, expected, rtol=1e-5)


def test_a_column_of_yes_alone_is_warned_of():
    model = keras_mt.MeanTeacher(
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]), task="multilabel", method="supervised"
    )
    model.compile()
    labels = np.array([[1, 1, 0], [1, -1, 1], [-1, 0, -1], [-1, -1, -1]])
    with pytest.warns(UserWarning, match=r"holds no label of 0 \(no\) in column 0 of 3: -1 is unlabeled"):
        model.fit(np.ones((4, 4), "float32"), labels, verbose=0)


def test_yes_alone_is_warned_of():
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model = keras_mt.MeanTeacher(student, task="multilabel", method="supervised")
    model.compile()
    with pytest.warns(UserWarning, match=r"Argument `y` holds no label of 0 \(no\): -1 is unlabeled, and 1 is yes"):
        model.fit(np.ones((4, 4), "float32"), np.array([1, 1, -1, -1]), verbose=0)
