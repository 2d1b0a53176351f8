"""A sigmoid that no layer shows is seen in the first batch; logits in [0, 1] by chance are not taken for one."""

import keras
import numpy as np
import pytest
from support.dense_students import X, compiled, fit

K = keras.layers
SENTENCE = r"numbers in \[0, 1\] whatever its weights are .*`from_logits` must be False"
Y = (X[:, :1] > 0).astype("int32")


class Ending(keras.Model):
    """A student whose last operation is no layer's activation."""

    def __init__(self, end, columns=1, **arguments):
        super().__init__(**arguments)
        self.head, self.normalization, self.hidden = K.Dense(columns), K.BatchNormalization(), K.Dense(8, "relu")
        self.end, self.columns = end, columns

    def call(self, x):
        return ENDS[self.end](self.head(self.normalization(self.hidden(x))))

    def get_config(self):
        return {**super().get_config(), "end": self.end, "columns": self.columns}


ENDS = {
    "sigmoid": keras.ops.sigmoid,
    "half a tanh": lambda x: (keras.ops.tanh(x) + 1) / 2,
    "softplus": lambda x: 1 - keras.ops.exp(-keras.ops.softplus(x)),
    "logits": lambda x: x,
    "relu": keras.ops.relu,
}


def student(end, columns=1, head=None, dtype="float32"):
    network = Ending(end, columns, dtype=dtype)
    network(X)
    if head is not None:
        network.head.set_weights([np.full((8, columns), head[0]), np.full(columns, head[1])])
    return network


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("columns", [1, 3])
def test_a_sigmoid_in_call_is_refused_and_the_check_moves_nothing(columns, dtype):
    model = compiled(student("sigmoid", columns, dtype=dtype), task="multilabel")
    before = model.student.get_weights()
    with pytest.raises(ValueError, match=SENTENCE):
        fit(model, y=np.repeat(Y, columns, axis=1))
    for old, now in zip(before, model.student.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)


@pytest.mark.parametrize("end", ["half a tanh", "softplus"])
@pytest.mark.parametrize("head", [None, (0.0, 0.0)], ids=["random", "zeros"])
def test_so_are_other_ends_that_give_probabilities(end, head):
    with pytest.raises(ValueError, match=SENTENCE):
        fit(compiled(student(end, head=head), task="multilabel"), y=Y)


@pytest.mark.parametrize("end", ["logits", "relu"])
@pytest.mark.parametrize("head", [(0.0, 0.0), (0.0, 0.5), (1e-3, 0.3)], ids=["zeros", "constant", "small"])
def test_logits_that_happen_to_be_in_the_interval_are_trained(end, head):
    network = student(end, head=head)
    assert ((network(X).numpy() >= 0) & (network(X).numpy() <= 1)).all()
    fit(compiled(network, task="multilabel"), y=Y)


def test_logits_of_a_frozen_head_are_trained():
    network = student("logits", head=(0.0, 0.5))
    network.head.trainable = False
    fit(compiled(network, task="multilabel"), y=Y)


def test_two_heads_are_both_looked_at():
    inputs = keras.Input((4,))
    second = keras.ops.sigmoid(K.Dense(1)(inputs)) * 1.0
    model = compiled(keras.Model(inputs, [K.Dense(1)(inputs), second]), task="multilabel", two_heads=True)
    with pytest.raises(ValueError, match=SENTENCE):
        fit(model, y=Y)


def test_numbers_in_the_unit_interval_that_are_no_probabilities_of_classes_stay_logits():
    fit(compiled(student("sigmoid", 3)), y=Y)


@pytest.mark.parametrize("end", [(), (K.Rescaling(0.01, offset=0.5),)], ids=["small inputs", "scaled outputs"])
def test_small_logits_leave_the_interval_under_large_weights(end):
    hidden = [] if end else [K.Dense(8, "relu", use_bias=False), K.Dense(1, "relu", use_bias=False)]
    network = keras.Sequential([keras.Input((4,)), *(hidden or [K.Dense(1)]), *end])
    fit(compiled(network, task="multilabel"), 0.001 * np.abs(X), Y)
