"""Exports: what is computed without Keras and without this package is what `predict` computes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_mt
from keras_mt.teacher import layers_of

_RANDOM = np.random.default_rng(0)
X = _RANDOM.normal(size=(6, 4)).astype("float32")
IMAGES = _RANDOM.integers(0, 256, (6, 8, 8, 3)).astype("uint8")
COLORS = np.array([["red"], ["blue"], ["green"], ["red"], ["pink"], ["blue"]])


@keras.saving.register_keras_serializable("test_serving")
class Subclassed(keras.Model):
    """Takes a tensor or a dict of two, returns what `structure` says."""

    def __init__(self, structure="tensor", **kwargs):
        super().__init__(**kwargs)
        self.structure = structure
        self.first, self.second = layers.Dense(3), layers.Dense(3)

    def call(self, x, training=None):
        x = keras.ops.concatenate([x["u"], x["v"]], axis=-1) if isinstance(x, dict) else x
        x = keras.ops.where(training, x * 0.0, x) if training else x
        outputs = [self.first(x), self.second(x)]
        return {"tensor": outputs[0], "list": outputs, "dict": dict(zip("qp", outputs, strict=True))}[self.structure]

    def get_config(self):
        return {"structure": self.structure, "name": self.name}


def functional(structure):
    inputs = keras.Input((4,), name="x")
    hidden = layers.Dropout(0.5)(layers.Dense(5, activation="relu")(inputs))
    first, second, third = (layers.Dense(n)(hidden) for n in (3, 2, 3))
    outputs = {"list": [first, second], "dict": {"late": first, "early": second}, "heads": [first, third],
               "heads in a dict": {"b": first, "a": third}, "nested": {"a": [first, second], "b": third}}  # fmt: skip
    return keras.Model(inputs, outputs[structure])


def subclassed(structure, x):
    student = Subclassed(structure)
    student(x)
    return student


def several_inputs(kind):
    inputs = [keras.Input((4,), name="x"), keras.Input((2,), name="y")]
    outputs = layers.Dense(3)(layers.Concatenate()(inputs))
    return keras.Model(dict(zip("xy", inputs, strict=True)) if kind is dict else inputs, outputs)


def adapted():
    normalization = layers.Normalization()
    normalization.adapt(3 * X + 1)
    return keras.Sequential([keras.Input((4,), name="x"), normalization, layers.Dense(3)])


def lookup():
    table = layers.StringLookup(output_mode="one_hot")
    table.adapt(COLORS[:3])
    inputs = keras.Input((1,), dtype="string", name="color")
    return keras.Model(inputs, layers.Dense(3)(table(inputs)))


def of_bytes():
    inputs = keras.Input((8, 8, 3), dtype="uint8", name="images")
    hidden = layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(hidden)))


# Student, what it takes, arguments of `MeanTeacher`, names of the inputs and outputs of a file.
STUDENTS = {
    "list": (lambda: functional("list"), X, {}, ["x"], ["output_0", "output_1"]),
    "dict": (lambda: functional("dict"), X, {}, ["x"], ["early", "late"]),
    "nested": (lambda: functional("nested"), X, {}, ["x"], ["a_output_0", "a_output_1", "b"]),
    "two heads": (lambda: functional("heads"), X, {"two_heads": True}, ["x"], ["output_0"]),
    "two heads in a dict": (lambda: functional("heads in a dict"), X, {"two_heads": True}, ["x"], ["output_0"]),
    "subclassed": (lambda: subclassed("tensor", X), X, {}, None, ["output_0"]),
    "subclassed heads": (lambda: subclassed("list", X), X, {"two_heads": True}, None, ["output_0"]),
    "subclassed dicts": (lambda: subclassed("dict", {"u": X, "v": X}), {"u": X, "v": X}, {}, ["u", "v"], ["p", "q"]),
    "two inputs": (lambda: several_inputs(list), [X, X[:, :2]], {}, ["x", "y"], ["output_0"]),
    "dict of inputs": (lambda: several_inputs(dict), {"y": X[:, :2], "x": X}, {}, ["x", "y"], ["output_0"]),
    "adapted": (adapted, 3 * X + 1, {}, ["x"], ["output_0"]),
    "lookup": (lookup, tf.constant(COLORS), {}, ["color"], ["output_0"]),
    "bytes": (of_bytes, IMAGES, {}, ["images"], ["output_0"]),
}


def wrapped(case):
    make, x, arguments, *names = STUDENTS[case]
    model = keras_mt.MeanTeacher(make(), **arguments)
    for weight in model.teacher.trainable_weights:
        weight.assign(1.1 * weight + 0.01)
    return model, x, model.predict(x, verbose=0), *names


def by_name(x, names):
    parts = x if isinstance(x, dict) else dict(zip(names, keras.tree.flatten(x), strict=True))
    return {name: np.asarray(parts[name]) for name in names}


def same(outputs: dict, expected, names):
    assert sorted(outputs) == names
    for name, values in zip(names, keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(outputs[name], values, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("case", STUDENTS)
def test_a_saved_model_answers_as_predict_does(case, tmp_path):
    model, x, expected, inputs, outputs = wrapped(case)
    model.export(tmp_path / "exported", verbose=False)
    # In one expression: what is loaded is garbage while its function runs.
    answer = tf.saved_model.load(str(tmp_path / "exported")).serve(keras.tree.map_structure(tf.constant, x))
    if case != "nested":  # A signature can't have structures inside of structures.
        keras.tree.assert_same_structure(answer, expected)
    for values, others in zip(keras.tree.flatten(answer), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(values, others, rtol=1e-5, atol=2e-6)
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    assert set(loaded.signatures) == {"serve", "serving_default"}
    signature = loaded.signatures["serving_default"]
    names = sorted(signature.structured_input_signature[1])
    assert names == (inputs or names)
    same(signature(**{k: tf.constant(v) for k, v in by_name(x, names).items()}), expected, outputs)


@pytest.mark.parametrize("case", [case for case in STUDENTS if case != "lookup"])
def test_an_onnx_file_answers_as_predict_does(case, tmp_path):
    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    model, x, expected, inputs, outputs = wrapped(case)
    (tmp_path / "exported.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    model.export(tmp_path / "exported.onnx", format="onnx", verbose=False)
    assert (tmp_path / "exported.onnx").is_symlink()
    session = runtime.InferenceSession(tmp_path / "exported.onnx")
    names = sorted(given.name for given in session.get_inputs())
    assert names == (inputs or names)
    answers = session.run(None, by_name(x, names))
    same(dict(zip((o.name for o in session.get_outputs()), answers, strict=True)), expected, outputs)


# What a case adds is in the names of inputs and outputs, which ONNX has of the same function.
FEW = ("nested", "two heads in a dict", "subclassed dicts", "two inputs", "bytes")


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=() if c in FEW else pytest.mark.slow) for c in STUDENTS if c != "lookup"],
)
def test_a_litert_file_answers_as_predict_does(case, tmp_path):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    model, x, expected, inputs, outputs = wrapped(case)
    model.export(tmp_path / "exported.tflite", format="litert", verbose=False)
    run = interpreter.Interpreter(str(tmp_path / "exported.tflite")).get_signature_runner("serving_default")
    names = sorted(run.get_input_details())
    assert names == (inputs or names)
    same(run(**by_name(x, names)), expected, outputs)


def test_what_onnx_lacks_is_said_and_nothing_is_written_or_lost(tmp_path):
    pytest.importorskip("tf2onnx")
    path = tmp_path / "exported.onnx"
    path.write_bytes(b"what was there")
    (tmp_path / "unfinished-exported.onnx").write_bytes(b"somebody's")
    with pytest.raises(ValueError, match="an operation that ONNX lacks"):
        wrapped("lookup")[0].export(path, format="onnx", verbose=False)
    found = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert found == {"exported.onnx": b"what was there", "unfinished-exported.onnx": b"somebody's"}


@pytest.mark.parametrize("unroll", [False, True])
def test_a_litert_file_that_needs_tensorflow_says_so(unroll, tmp_path, recwarn):
    student = keras.Sequential([keras.Input((3, 2)), layers.GRU(2, unroll=unroll), layers.Dense(3)])
    keras_mt.MeanTeacher(student).export(tmp_path / "exported.tflite", format="litert", verbose=False)
    assert any("Flex delegate" in str(warning.message) for warning in recwarn) != unroll


def test_an_input_signature_is_taken_and_what_was_written_is_printed(tmp_path, capsys):
    model, x, expected, *_ = wrapped("subclassed")
    model.export(tmp_path / "exported", input_signature=[keras.InputSpec(shape=(6, 4), dtype="float32", name="rows")])
    assert "Endpoint 'serve'" in capsys.readouterr().out
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    assert loaded.signatures["serve"].structured_input_signature[1]["rows"].shape == (6, 4)
    np.testing.assert_allclose(loaded.serve(x), expected, atol=1e-6)


def test_a_saved_model_has_the_weights_of_the_teacher_alone(tmp_path):
    model, *_ = wrapped("dict")
    model.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    assert len(loaded.variables) == len(model.teacher.weights)
    assert len(loaded.trainable_variables) == len(model.teacher.trainable_weights)
    assert len(layers_of(model.teacher)) == len(layers_of(model.student))  # Nothing is left in the network itself.
    layer = keras.layers.TFSMLayer(str(tmp_path / "exported"), call_endpoint="serve")
    np.testing.assert_allclose(layer(X)["late"], model.predict(X, verbose=0)["late"], atol=1e-6)


def test_under_a_global_mixed_policy_networks_get_examples_as_they_are(tmp_path):
    """70000 is infinite in float16, in which the student's own first layer does not compute."""
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    inputs = keras.Input((4,), name="x")
    scaled = layers.Normalization(mean=[70000.0] * 4, variance=[100.0] * 4, dtype="float32")(inputs)
    student = keras.Model(inputs, layers.Dense(3, dtype="float32")(layers.Dense(5)(scaled)))
    x = 70000.0 + 10.0 * X
    right = student.predict(x, verbose=0)
    assert np.isfinite(right).all()
    model = keras_mt.MeanTeacher(student)
    model.export(tmp_path / "exported", verbose=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    answers = [network.predict(x, verbose=0) for network in (model, loaded)]
    answers += [model(x), tf.saved_model.load(str(tmp_path / "exported")).serve(x)]
    for got in answers:
        np.testing.assert_allclose(got, right, atol=2e-3)
