"""Examples as Keras' `fit` takes them: columns of pandas, and inputs that are left out."""

import keras
import numpy as np
import pandas
import pytest

import keras_mt

A, B = np.random.default_rng(0).normal(size=(2, 16, 4)).astype("float32")
Y = np.where(np.arange(16) % 4 < 2, np.arange(16) % 3, -1)  # Two labeled rows begin each batch of four.


def fit(model, x, y=Y):
    callback = keras_mt.MeanTeacherCallback(1.0, ema_decay=0.5, verbose=False)
    return model.fit(x, y, batch_size=4, verbose=0, shuffle=False, callbacks=[callback])


def cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@keras.saving.register_keras_serializable("tests")
class Table(keras.Model):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.dense = keras.layers.Dense(3, kernel_initializer="ones")

    def call(self, x):
        return self.dense(keras.ops.concatenate([x["a"], x["b"]], axis=-1))


def test_columns_of_pandas_are_columns_to_a_subclassed_student_as_keras_makes_them():
    frame, labels = pandas.DataFrame({"a": A[:, 0], "b": B[:, 0]}), np.arange(16) % 3
    plain, student = Table(), Table()
    for network in (plain, student):
        network({name: frame[[name]].to_numpy() for name in frame})
    model = keras_mt.MeanTeacher(student, method="supervised")
    for network in (plain, model):
        network.compile(keras.optimizers.SGD(0.1), loss=cross_entropy())
    plain.fit(dict(frame), pandas.Series(labels), batch_size=4, verbose=0, shuffle=False)
    fit(model, dict(frame), pandas.Series(labels))
    for ours, theirs in zip(student.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@keras.saving.register_keras_serializable("tests")
class Joined(keras.layers.Layer):
    """The sum of what is given."""

    def call(self, first, second=None):
        return first if second is None else first + second

    def compute_output_shape(self, first_shape, second_shape=None):
        return first_shape


def student_of_two():
    first, second = keras.Input((4,), name="a"), keras.Input((4,), name="b", optional=True)
    outputs = keras.layers.Dense(3, kernel_initializer="ones")(Joined()(first, second))
    return keras.Model({"a": first, "b": second}, outputs)


@pytest.mark.parametrize("second", [None, B], ids=["left out", "given"])
def test_an_optional_input_may_be_left_out_as_in_keras(second, tmp_path):
    x, labels = {"a": A, "b": second}, np.arange(16) % 3
    plain, student = student_of_two(), student_of_two()
    model = keras_mt.MeanTeacher(student, method="supervised")
    for network in (plain, model):
        network.compile(keras.optimizers.SGD(0.1), loss=cross_entropy())
    plain.fit(x, labels, batch_size=4, verbose=0, shuffle=False)
    fit(model, x, labels)
    for ours, theirs in zip(student.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


OPTIONS = [
    {"separate_passes": 2},
    {"teacher_sees": "unlabeled", "consistency_on_labeled": False},
    {"mixing": keras_mt.mixing.Interpolation(1.0)},
    {"method": "temporal_ensembling", "num_examples": 16},
    {"two_views": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: next(iter(options)))
def test_what_is_left_out_is_as_if_it_were_zeros_under_every_option(options):
    costs = []
    for second in (None, np.zeros_like(B)):
        model = keras_mt.MeanTeacher(student_of_two(), **options)
        model.compile(keras.optimizers.SGD(0.1))
        x = {"a": A, "b": second}
        x = (x, np.arange(16)) if "num_examples" in options else (x, x) if "two_views" in options else x
        costs.append(fit(model, x).history["loss"])
    np.testing.assert_allclose(*costs, rtol=1e-5)


def test_labels_are_checked_where_an_input_is_left_out():
    model = keras_mt.MeanTeacher(student_of_two())
    model.compile("sgd")
    with pytest.raises(ValueError, match="class labels from 0 to 2.*Received: 7"):
        fit(model, {"a": A, "b": None}, np.full(16, 7))
