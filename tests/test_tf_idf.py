"""Layers that weigh words by how rare they are: their weights belong to a vocabulary, and are no weights of Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.dense_students import compiled, fit

K = keras.layers
WORDS = np.array(["good movie", "bad film", "nice film", "good"] * 3)
OTHERS = np.array(["a good film", "a bad film", "a new one", "nice"] * 3)
Y = np.arange(12) % 3
LOOKUPS = pytest.mark.parametrize("lookup", [K.TextVectorization, K.StringLookup], ids=lambda kind: kind.__name__)


def student_of(layer):
    shape = () if isinstance(layer, K.TextVectorization) else (1,)
    return keras.Sequential([keras.Input(shape, dtype="string"), layer, K.Dense(3)])


def examples(layer):
    return tf.constant(WORDS if isinstance(layer, K.TextVectorization) else WORDS[:, None])


def fitted(model, layer):
    x = examples(layer)
    fit(model, x, Y, decay=0.5)
    np.testing.assert_array_equal(model.student.layers[0](x), model.teacher.layers[0](x))
    assert np.ptp(model.student.layers[0](x)) > 0
    return model.predict(x, verbose=0)


@LOOKUPS
def test_what_words_weigh_is_loaded_with_the_model(lookup, tmp_path):
    layer = lookup(output_mode="tf_idf")
    layer.adapt(WORDS)
    model = compiled(student_of(layer), 0.1)
    predicted = fitted(model, layer)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(examples(layer), verbose=0), predicted)


@LOOKUPS
@pytest.mark.parametrize("adapted", ["after", "again"])
def test_a_layer_may_be_adapted_after_wrapping(adapted, lookup):
    layer = lookup(output_mode="tf_idf", max_tokens=9, pad_to_max_tokens=True)
    if adapted == "again":
        layer.adapt(OTHERS)
    model = compiled(student_of(layer), 0.1)
    layer.adapt(WORDS)
    fitted(model, layer)
