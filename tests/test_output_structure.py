"""A student whose outputs depend on the mode, such as one with an auxiliary head in training alone, is refused.

Outputs are flattened and counted, so that an auxiliary one would be trained as the first.
"""

import keras
import numpy as np
import pytest
from support.dense_students import FEW, X, Y, compiled, fit

import keras_mt

OUTPUTS = {
    "the same": lambda main, aux, training: {"main": main, "aux": aux},
    "a dict in training": lambda main, aux, training: {"main": main, "aux": aux} if training else main,
    "a list in training": lambda main, aux, training: [main, aux] if training else main,
    "fewer in training": lambda main, aux, training: main if training else [main, aux],
    "another name": lambda main, aux, training: {"main": main, "aux" if training else "b": aux},
    "another rank": lambda main, aux, training: main[:, None] if training else main,
    "other columns": lambda main, aux, training: keras.ops.concatenate([main, aux], -1) if training else main,
}
SENTENCE = "the same outputs in training and in inference"


class Heads(keras.Model):
    """Two heads, and one of `OUTPUTS` that makes of them what is returned."""

    def __init__(self, kind, **arguments):
        super().__init__(**arguments)
        self.main, self.aux, self.kind = keras.layers.Dense(3), keras.layers.Dense(3), kind

    def call(self, x, training=False):
        return OUTPUTS[self.kind](self.main(x), self.aux(x), training)

    def get_config(self):
        return {**super().get_config(), "kind": self.kind}


class Unseen(Heads):
    """The same inside of a model whose own `call` has no mode: nothing shows before the first pass."""

    def __init__(self, kind, **arguments):
        super().__init__(kind, **arguments)
        self.inner = Heads(kind)

    def call(self, x):
        return self.inner(x)


def built(network):
    network(X)
    return network


@pytest.mark.parametrize("kind", [kind for kind in OUTPUTS if kind != "the same"])
def test_other_outputs_in_training_than_in_inference_are_refused_when_wrapped(kind):
    with pytest.raises(ValueError, match=SENTENCE):
        keras_mt.MeanTeacher(built(Heads(kind)))


@pytest.mark.parametrize("options", [{}, {"method": "pi"}, {"separate_passes": 4}])
@pytest.mark.parametrize("kind", ["a dict in training", "another rank"])
def test_what_shows_in_the_first_pass_is_refused_before_it_changes_anything(kind, options):
    model = compiled(built(Unseen(kind)), rate=1.0, **options)
    before = [w.numpy() for w in model.student.weights]
    with pytest.raises(ValueError, match=SENTENCE):
        fit(model, y=FEW)
    for old, now in zip(before, model.student.weights, strict=True):
        np.testing.assert_array_equal(old, now.numpy())


def test_an_auxiliary_head_in_both_modes_with_a_task_of_its_own_is_trained():
    model = compiled(built(Heads("the same")), rate=0.1)
    before = [layer.kernel.numpy() for layer in (model.student.main, model.student.aux)]
    fit(model, y={"main": Y, "aux": Y})
    for old, layer in zip(before, (model.student.main, model.student.aux), strict=True):
        assert np.abs(layer.kernel.numpy() - old).max() > 0


@pytest.mark.parametrize("outputs", [lambda head: [head], lambda head: (head,), lambda head: head])
def test_one_output_may_be_in_a_list(outputs):
    inputs = keras.Input((4,))
    model = compiled(keras.Model(inputs, outputs(keras.layers.Dense(3)(inputs))))
    fit(model)
    assert np.isfinite(model.evaluate(X, Y, verbose=0, return_dict=True)["loss"])


def test_an_output_without_a_task_may_have_another_shape_in_training():
    model = keras_mt.MeanTeacher(built(Weighed()), task={"y": "multiclass", "w": None})
    model.compile("sgd")
    fit(model, y={"y": Y})


class Weighed(keras.Model):
    """Gives weights of positions beside its answer, in training of fewer positions."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.head = keras.layers.Dense(3)

    def call(self, x, training=False):
        return {"y": self.head(x), "w": keras.ops.softmax(x[:, :2] if training else x)}
