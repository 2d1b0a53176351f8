"""The teacher is the student until the first step, and nothing but the average moves it after."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mt

K = keras.layers
RANDOM = np.random.default_rng(0)
X = (100 + 30 * RANDOM.normal(size=(64, 4))).astype("float32")
Y = np.arange(64) % 3
WORDS = np.array([["a b"], ["b c c"], ["d"], ["a"]] * 16)
TOKENS = np.array([[3], [7], [9], [3]] * 16)


def network(*layers, inputs=None, outputs=3):
    return keras.Sequential([keras.Input((4,)) if inputs is None else inputs, *layers, K.Dense(outputs)])


def adapted(layer, data):
    layer.adapt(data)
    return layer


def nested_normalization():
    """As EfficientNet of `keras.applications`: a `Normalization` inside of a model inside of the student."""
    inputs = keras.Input((4,))
    base = keras.Model(inputs, K.Dense(5)(adapted(K.Normalization(), X)(inputs)))
    return network(base)


def text(layer):
    embedded = [layer, K.Embedding(20, 4), K.GlobalAveragePooling1D()]
    return network(*embedded, inputs=keras.Input((1,), dtype="string"))


ADAPTED = {
    "Normalization": lambda: (network(adapted(K.Normalization(), X)), X),
    "given mean": lambda: (network(K.Normalization(mean=100.0, variance=900.0)), X),
    "nested": lambda: (nested_normalization(), X),
    "Discretization": lambda: (network(adapted(K.Discretization(num_bins=4), X), K.Rescaling(0.5)), X),
    "TextVectorization": lambda: (text(adapted(K.TextVectorization(output_sequence_length=3), WORDS)), WORDS),
    "IntegerLookup": lambda: (
        network(adapted(K.IntegerLookup(), TOKENS), K.Embedding(9, 4), K.Flatten(),
                inputs=keras.Input((1,), dtype="int64")),
        TOKENS,
    ),
    "CategoryEncoding": lambda: (
        network(adapted(K.IntegerLookup(), TOKENS), K.CategoryEncoding(6, "multi_hot"),
                inputs=keras.Input((1,), dtype="int64")),
        TOKENS,
    ),
    "BatchNormalization": lambda: (network(K.BatchNormalization()), X),
}  # fmt: skip


@pytest.mark.parametrize("kind", ADAPTED)
def test_what_layers_have_adapted_to_is_the_teachers_too(kind):
    student, x = ADAPTED[kind]()
    model = keras_mt.MeanTeacher(student)
    np.testing.assert_array_equal(model.student(x), model.teacher(x))
    assert float(np.std(model.teacher(x))) > 0


def test_a_layer_that_is_adapted_after_wrapping_reaches_the_teacher_before_the_first_step():
    layer = K.Normalization()
    layer.build((None, 4))
    model = compiled(keras_mt.MeanTeacher(network(layer)))
    layer.adapt(X)
    fit(model, X)
    np.testing.assert_allclose(model.student(X), model.teacher(X), atol=1e-6)


def compiled(model, rate=0.0, **options):
    model.compile(keras.optimizers.SGD(rate), run_eagerly=True, **options)
    return model


def fit(model, x, y=Y, decay=0.5, **options):
    callback = keras_mt.MeanTeacherCallback(1.0, ema_decay=decay, verbose=False)
    return model.fit(x, y, batch_size=64, verbose=0, shuffle=False, callbacks=[callback], **options).history


def test_a_teacher_that_was_given_weights_by_hand_keeps_them_until_the_average_moves_it():
    model = compiled(keras_mt.MeanTeacher(network()))
    given = [w + 1.0 for w in model.teacher.get_weights()]
    model.teacher.set_weights(given)
    fit(model, X, decay=0.75)
    for got, start, student in zip(model.teacher.get_weights(), given, model.student.get_weights(), strict=True):
        np.testing.assert_allclose(got, 0.75 * start + 0.25 * student, rtol=1e-5)


def test_fit_says_that_it_copied_weights_which_were_loaded(capsys):
    model = compiled(keras_mt.MeanTeacher(network()))
    model.student.set_weights([w + 1.0 for w in model.student.get_weights()])
    callback = keras_mt.MeanTeacherCallback(1.0, verbose=False)
    model.fit(X, Y, batch_size=64, callbacks=[callback], verbose=2)
    assert "the teacher starts from them" in capsys.readouterr().out
    np.testing.assert_allclose(model.teacher(X), model.student(X), atol=1e-5)
    model.student.set_weights([w + 1.0 for w in model.student.get_weights()])
    before = model.teacher.get_weights()
    model.fit(X, Y, batch_size=64, callbacks=[callback], verbose=2)
    assert "the teacher starts" not in capsys.readouterr().out  # Continuing copies nothing.
    moved = [(0.999 * b + 0.001 * s) for b, s in zip(before, model.student.get_weights(), strict=True)]
    for got, right in zip(model.teacher.get_weights(), moved, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-4)


def backbone_student():
    base = keras.Sequential([keras.Input((4,)), K.Dense(5), K.BatchNormalization(momentum=0.5)], name="base")
    return keras.Sequential([keras.Input((4,)), base, K.Dense(3)])


FREEZE = {
    "layer": lambda student: [student.layers[0].layers[0]],
    "normalization": lambda student: [student.layers[0].layers[1]],
    "nested model": lambda student: [student.layers[0]],
}


@pytest.mark.parametrize("when", ["before wrapping", "after wrapping", "after training"])
@pytest.mark.parametrize("what", FREEZE)
def test_what_is_frozen_moves_in_neither_network_and_lives_again_when_it_is_not(what, when):
    student = backbone_student()
    freeze = FREEZE[what]
    if when == "before wrapping":
        freeze(student)[0].trainable = False
    model = keras_mt.MeanTeacher(student)
    if when == "after training":
        fit(compiled(model, 1e-4), X)
    freeze(student)[0].trainable = False
    fit(compiled(model, 1e-4), X, epochs=1)  # Other weights may move, these may not.
    kept = [[w.numpy() for part in freeze(n) for w in part.weights] for n in (model.student, model.teacher)]
    fit(compiled(model, 1e-4), X, epochs=2)
    for net, before in zip((model.student, model.teacher), kept, strict=True):
        for weight, old in zip([w for part in freeze(net) for w in part.weights], before, strict=True):
            np.testing.assert_array_equal(weight, old)
    freeze(student)[0].trainable = True
    fit(compiled(model, 1e-4), X, epochs=2)
    for net, before in zip((model.student, model.teacher), kept, strict=True):
        now = [w.numpy() for part in freeze(net) for w in part.weights]
        assert all((a != b).any() for a, b in zip(now, before, strict=True)), net.name


class Shift(K.Layer):
    offset = 0.0  # Set by hand after building, and in no config.

    def call(self, x):
        return x + self.offset


def shifted_functional(shift):
    inputs = keras.Input((4,))
    return keras.Model(inputs, K.Dense(3)(shift(inputs)))


def shifted_nested(shift):
    return network(keras.Sequential([keras.Input((4,)), K.Dense(4), shift]))


@keras.saving.register_keras_serializable("tests_hidden")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.shift, self.dense = Shift(name="hidden_state"), K.Dense(3)

    def call(self, x):
        return self.dense(self.shift(x))


def shifted_subclassed(shift):
    student = Subclassed()
    student(X[:2])
    return student


@pytest.mark.parametrize("make", [network, shifted_functional, shifted_nested, shifted_subclassed])
def test_a_clone_of_hidden_state_is_refused_by_the_layers_name(make):
    with keras.saving.custom_object_scope({"Shift": Shift}):
        shift = Shift(name="hidden_state")
        student = make(shift)
        (student.shift if make is shifted_subclassed else shift).offset = 5.0
        model = compiled(keras_mt.MeanTeacher(student))
        with pytest.raises(ValueError, match="'hidden_state'.*teacher="):
            fit(model, X)


@keras.saving.register_keras_serializable("tests_hidden")
class Order(keras.Model):
    """Two layers of one shape, used in the order of their making or in the other."""

    def __init__(self, turned=False, **kwargs):
        super().__init__(**kwargs)
        self.turned, self.one, self.two, self.head = turned, K.Dense(4), K.Dense(4), K.Dense(3)
        self(X[:2])

    def call(self, x):
        first, second = (self.two, self.one) if self.turned else (self.one, self.two)
        return self.head(second(keras.ops.tanh(0.01 * first(x))))


def test_a_teacher_with_the_same_shapes_in_another_order_is_refused():
    fit(compiled(keras_mt.MeanTeacher(Order(), teacher=Order())), X)  # Another build of the same is welcome.
    with pytest.raises(ValueError, match="teacher="):
        fit(compiled(keras_mt.MeanTeacher(Order(), teacher=Order(turned=True))), X)


def test_a_teacher_of_its_own_weights_keeps_them_and_may_stay_frozen():
    teacher = network()
    given = teacher.get_weights()
    model = compiled(keras_mt.MeanTeacher(network(), teacher=teacher, teacher_weights="own"), 1e-4)
    fit(model, X, decay=1.0, epochs=3)
    for got, right in zip(model.teacher.get_weights(), given, strict=True):
        np.testing.assert_array_equal(got, right)
    with pytest.raises(ValueError, match="ema_decay=1.0"):
        fit(compiled(keras_mt.MeanTeacher(network())), X, decay=1.0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_the_average_is_exact_in_each_dtype_of_weights(dtype):
    inputs = keras.Input((4,), dtype="float32")
    student = keras.Model(inputs, K.Dense(3, dtype=dtype)(inputs))
    model = keras_mt.MeanTeacher(student)
    model.compile(keras.optimizers.SGD(0.0))
    x, y = np.ones((4, 4), "float32"), np.arange(4) % 3
    layers = [n.layers[-1] for n in (model.student, model.teacher)]
    callback = keras_mt.MeanTeacherCallback(1.0, ema_decay=0.999, verbose=False)
    model.fit(x, y, verbose=0, callbacks=[callback])
    for layer, value in zip(layers, (1.0, 0.5), strict=True):
        layer.kernel.assign(tf.cast(tf.fill([4, 3], value), dtype))
    data = tf.data.Dataset.from_tensors((x, y)).repeat(300)
    model.fit(data, verbose=0, callbacks=[callback])
    got = np.asarray(tf.cast(layers[1].kernel.value, "float64")).mean()
    np.testing.assert_allclose(got, 1 - 0.5 * 0.999**300, rtol={"bfloat16": 4e-3, "float16": 1e-3}.get(dtype, 1e-5))


@pytest.mark.parametrize("steps", [1, 5])
def test_pi_moves_the_running_statistics_once_a_step(steps):
    """After n steps they are what n updates of plain Keras give, not 2n."""
    model = compiled(keras_mt.MeanTeacher(network(K.BatchNormalization(momentum=0.9)), method="pi"))
    fit(model, X, epochs=steps)
    mean = X.mean(0) * (1 - 0.9**steps)
    np.testing.assert_allclose(model.student.layers[0].moving_mean, mean, rtol=1e-4)


@pytest.mark.parametrize("lookup", [K.TextVectorization, K.StringLookup], ids=lambda kind: kind.__name__)
def test_a_vocabulary_is_loaded_with_the_model_and_may_be_adapted_after_wrapping(lookup, tmp_path):
    layer = lookup(**({"output_sequence_length": 3} if lookup is K.TextVectorization else {}))
    student = text(layer)
    model = compiled(keras_mt.MeanTeacher(student))
    layer.adapt(WORDS)
    fit(model, tf.constant(WORDS))
    predicted = model.predict(tf.constant(WORDS), verbose=0)
    assert np.ptp(predicted[:4, 0]) > 0
    np.testing.assert_array_equal(model.student(WORDS), model.teacher(WORDS))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(tf.constant(WORDS), verbose=0), predicted)


def test_the_check_before_the_first_step_leaves_states_of_recurrent_layers_as_they_are():
    inputs = keras.Input((5, 2), batch_size=8)
    student = keras.Model(inputs, K.Dense(3)(K.LSTM(4, stateful=True)(inputs)))
    model = compiled(keras_mt.MeanTeacher(student))
    model._before_first_step(X.reshape(-1, 2)[:40].reshape(8, 5, 2))
    assert all(not np.any(state) for network in (model.student, model.teacher) for state in network.layers[1].states)


def test_what_a_student_was_compiled_with_does_not_keep_it_from_being_wrapped():
    student = network(K.Dense(5))
    student.compile("adam", loss=lambda y, p: keras.ops.mean(p))
    assert not keras_mt.MeanTeacher(student).teacher.compiled
    assert student.compiled


@keras.saving.register_keras_serializable("tests")
class TiedByReference(K.Layer):
    """Holds another layer, of which a clone makes a second one."""

    def __init__(self, embedding, **kwargs):
        super().__init__(**kwargs)
        self.embedding = embedding

    def call(self, x):
        return keras.ops.matmul(x, keras.ops.transpose(self.embedding.embeddings))

    def get_config(self):
        return {**super().get_config(), "embedding": keras.saving.serialize_keras_object(self.embedding)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "embedding": keras.saving.deserialize_keras_object(config["embedding"])})


def test_a_clone_with_other_weights_is_refused_in_a_sentence_about_the_student():
    embedding, inputs = K.Embedding(7, 4), keras.Input((5,), dtype="int32")
    student = keras.Model(inputs, TiedByReference(embedding)(embedding(inputs)))
    with pytest.raises(ValueError, match="student .* can't be cloned: .*pass it as `teacher=`"):
        keras_mt.MeanTeacher(student)


@pytest.mark.parametrize("change", [lambda s: s.add(K.Dense(3)), lambda s: s.layers[0].enable_lora(2)])
def test_weights_that_are_added_after_wrapping_are_refused_in_a_sentence(change):
    student = network(K.Dense(4))
    model = keras_mt.MeanTeacher(student)
    change(student)
    with pytest.raises(ValueError, match="student must keep the weights it was wrapped with.*Received"):
        model.compile("sgd")
