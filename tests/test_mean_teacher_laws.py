"""What must hold of the method, whatever else changes.

A toolkit once took the student's side of the consistency cost from the teacher's pass: no gradient flowed, nothing
failed, and its "Mean Teacher" equaled its supervised baseline in print. These laws make that impossible to miss.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.networks import STATISTICS, largest_difference, quiet_convnet, small_convnet, values

import keras_mt
from keras_mt.views import noise_variables, set_noise

PI_SLOWLY = pytest.param("pi", marks=pytest.mark.slow)  # Where it differs by little but seconds.


def train(model, images, labels, steps=1, weight=10.0, decay=0.9, **callback):
    callback = keras_mt.MeanTeacherCallback(weight, ema_decay=decay, verbose=False, **callback)
    callback.set_model(model)
    for _ in range(steps):
        logs = model.train_on_batch(images, labels, return_dict=True)
    return logs


def compiled(student, optimizer=None, **kwargs):
    compile_arguments = {k: kwargs.pop(k) for k in ("jit_compile", "loss", "metrics") if k in kwargs}
    model = keras_mt.MeanTeacher(student, **kwargs)
    model.compile(optimizer or keras.optimizers.SGD(0.1), **compile_arguments)
    return model


def disturb(network, amount=0.1, seed=0):
    random = np.random.default_rng(seed)
    for weight in network.trainable_variables:
        weight.assign_add(amount * random.normal(size=weight.shape))


@pytest.mark.parametrize(
    ("consistency", "method"),
    [
        pytest.param(c, m, marks=pytest.mark.slow if m == "pi" and c != "mse" else ())
        for c in ("mse", "kl", 0.5)
        for m in ("mean_teacher", "pi")
    ],
)
def test_consistency_alone_moves_the_student(batch, method, consistency):
    images, labels = batch
    model = compiled(small_convnet(), method=method, consistency=consistency)
    before = values(model.student.trainable_variables)
    train(model, images, np.full_like(labels, -1))
    moved = [np.abs(a - b).max() for a, b in zip(before, values(model.student.trainable_variables), strict=True)]
    # All but the bias-like shift that the softmax of equal heads can't see is reached.
    assert sum(m > 0 for m in moved) >= len(moved) - 1


def test_without_consistency_unlabeled_examples_move_nothing(batch):
    images, labels = batch
    model = compiled(small_convnet(), method="supervised")
    before = values(model.student.trainable_variables)
    train(model, images, np.full_like(labels, -1))
    assert largest_difference(before, values(model.student.trainable_variables)) == 0


def test_the_step_follows_the_finite_difference_of_the_consistency_cost(batch):
    """Learning rate 1 makes the weights' change minus the gradient; compared along that direction."""
    images, labels = batch
    student = quiet_convnet()
    model = compiled(student, keras.optimizers.SGD(1.0))
    disturb(model.teacher)
    start = values(student.trainable_variables)
    target = tf.nn.softmax(model.teacher(images, training=True))

    def cost():
        return float(tf.reduce_mean(tf.square(tf.nn.softmax(student(images, training=True)) - target)))

    weight = 3.0
    train(model, images, np.full_like(labels, -1), weight=weight)
    slope = [a - b for a, b in zip(start, values(student.trainable_variables), strict=True)]
    squares = sum(float((s.astype("float64") ** 2).sum()) for s in slope)
    step = 0.005 / np.sqrt(squares)
    costs = []
    for sign in (1, -1):
        for variable, at, direction in zip(student.trainable_variables, start, slope, strict=True):
            variable.assign(at + sign * step * direction)
        costs.append(cost())
    np.testing.assert_allclose((costs[0] - costs[1]) / (2 * step) * weight, squares, rtol=0.02)


def test_the_student_follows_a_constant_wrong_teacher(batch):
    images, labels = batch
    images = 0.1 * images  # So that a network of two convolutions can give 32 images of noise one class.
    student = quiet_convnet()
    assert (student(images, training=True).numpy().argmax(axis=1) == 2).mean() < 0.6
    model = compiled(student, keras.optimizers.Adam(0.1))
    for variable in model.teacher.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    model.teacher.layers[-1].b.assign([0.0, 0.0, 4.0, 0.0])
    for weight in model.teacher.trainable_variables:
        if weight.name == "v":
            weight.assign(tf.ones_like(weight))  # ‖V‖ must not be 0.
    frozen = values(model.teacher.trainable_variables)
    wrong = np.full_like(labels, -1)
    for _ in range(60):
        train(model, images, wrong, weight=100.0, decay=0.999)
        for variable, value in zip(model.teacher.trainable_variables, frozen, strict=True):
            variable.assign(value)
    predicted = tf.nn.softmax(student(images, training=True)).numpy()
    assert (predicted.argmax(axis=1) == 2).mean() > 0.9
    assert predicted[:, 2].mean() > 0.8


def test_only_the_average_moves_the_teacher(batch):
    images, labels = batch
    model = compiled(small_convnet(), keras.optimizers.Adam(0.01))
    for _ in range(3):
        teacher = values(model.teacher.trainable_variables)
        train(model, images, labels, decay=0.8)
        student = values(model.student.trainable_variables)
        expected = [0.8 * t + 0.2 * s for t, s in zip(teacher, student, strict=True)]
        assert largest_difference(expected, values(model.teacher.trainable_variables)) < 1e-6
    optimized = {id(v) for v in model.trainable_variables}
    assert not optimized & {id(v) for v in model.teacher.weights}
    assert model.teacher.trainable
    assert all(layer.trainable for layer in model.teacher.layers)


def test_the_decay_and_the_weight_follow_their_ramps_step_by_step(batch):
    images, labels = batch
    model = compiled(small_convnet())
    for t in range(5):
        logs = train(model, images, labels, weight=2.0, rampup_steps=3, decay=0.9, ema_decay_during_rampup=0.5)
        np.testing.assert_allclose(logs["consistency_weight"], 2.0 * np.exp(-5 * max(0, 1 - t / 3) ** 2), rtol=1e-6)
        np.testing.assert_allclose(logs["ema_decay"], 0.5 if t < 3 else 0.9, rtol=1e-6)


@pytest.mark.parametrize("method", ["mean_teacher", "pi"])
def test_the_two_passes_share_no_noise_even_with_fixed_seeds_and_cloned_layers(batch, method):
    """Equal weights and no consistency cost would mean the same noise: keras issue 19796's seeds restart in clones."""
    images, labels = batch
    inputs = keras.Input((12, 12, 1))
    x = keras.layers.GaussianNoise(0.5, seed=7)(keras.layers.Flatten()(inputs))
    student = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Dropout(0.5, seed=7)(x)))
    model = compiled(student, method=method)
    logs = train(model, images, labels)
    assert logs["consistency_cost"] > 1e-4


def test_noise_is_a_function_of_seed_step_and_pass_alone(batch):
    images, _ = batch
    network = small_convnet()
    seeds = noise_variables(network)
    assert len(seeds) == 4  # Translation, Gaussian noise, two dropouts.

    def outputs(seed, step, draw):
        set_noise(seeds, seed, step, draw)
        return network(images, training=True).numpy()

    reference = outputs(3, 5, 0)
    outputs(4, 6, 1)
    np.testing.assert_array_equal(outputs(3, 5, 0), reference)
    for other in ((4, 5, 0), (3, 6, 0), (3, 5, 1)):
        assert np.abs(outputs(*other) - reference).max() > 1e-3
    states = [tuple(v.numpy()) for v in seeds]
    assert len(set(states)) == len(states)


def test_several_steps_an_execution_give_the_same_weights_bit_for_bit(batch):
    images, labels = batch
    results = []
    for steps_per_execution in (1, 2):
        keras.utils.set_random_seed(1)
        model = keras_mt.MeanTeacher(small_convnet())
        model.compile(keras_mt.optimizers.ScheduledAdam(0.003), steps_per_execution=steps_per_execution)
        data = tf.data.Dataset.from_tensors((images, labels)).repeat(8)
        callback = keras_mt.MeanTeacherCallback(5.0, 5, 0.99, 0.9, verbose=False)
        model.fit(data, verbose=0, callbacks=[callback])
        results.append(values(model.weights))
    assert largest_difference(*results) == 0


@pytest.mark.parametrize("method", ["mean_teacher", PI_SLOWLY])
def test_xla_gives_the_weights_of_the_plain_graph_with_all_noise_on(batch, method):
    images, labels = batch
    results = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        model = compiled(small_convnet(), jit_compile=jit_compile, method=method)
        train(model, images, labels, steps=4, rampup_steps=3)
        results.append(values(model.weights))
    assert largest_difference(*results) < 1e-4


def test_the_classification_cost_is_divided_by_the_whole_batch(batch):
    images, labels = batch
    model = compiled(quiet_convnet(), method="supervised")
    logits = model.student(images, training=True)
    each = keras.losses.sparse_categorical_crossentropy(labels[:8], logits[:8], from_logits=True)
    logs = train(model, images, labels)
    np.testing.assert_allclose(logs["classification_cost"], float(tf.reduce_sum(each)) / 32, rtol=1e-4)
    assert logs["labeled_per_batch"] == 8


def test_labeled_examples_can_be_left_out_of_the_consistency_cost(batch):
    images, labels = batch
    logged = []
    for on_labeled in (True, False):
        keras.utils.set_random_seed(2)
        model = compiled(quiet_convnet(), consistency_on_labeled=on_labeled)
        disturb(model.teacher)
        difference = tf.nn.softmax(model.student(images, training=True)) - tf.nn.softmax(
            model.teacher(images, training=True)
        )
        each = tf.reduce_mean(tf.square(difference), axis=1).numpy()
        expected = each.sum() / 32 if on_labeled else each[8:].sum() / 32
        logs = train(model, images, labels, weight=10.0)
        np.testing.assert_allclose(logs["consistency_cost"], 10.0 * expected, rtol=1e-4)
        logged.append(logs["consistency_cost"])
    assert logged[0] > logged[1]


def test_two_heads_are_each_trained_by_their_own_cost(batch):
    images, labels = batch
    model = compiled(small_convnet(num_heads=2), two_heads=True)
    classification, consistency = (
        model.student.get_layer(f"{name}_logits") for name in ("classification", "consistency")
    )
    before = values([classification.v, consistency.v])
    train(model, images, np.full_like(labels, -1))
    after = values([classification.v, consistency.v])
    assert np.abs(after[0] - before[0]).max() == 0
    assert np.abs(after[1] - before[1]).max() > 0
    assert model.predict(images, verbose=0).shape == (32, 4)


def test_the_logit_distance_pulls_the_heads_together(batch):
    images, labels = batch
    model = compiled(quiet_convnet(num_heads=2), keras.optimizers.SGD(0.005), two_heads=True, logit_distance_weight=1.0)
    logs = [train(model, images, np.full_like(labels, -1), weight=1e-6)["logit_distance_cost"] for _ in range(80)]
    assert logs[-1] < 0.5 * logs[0]


def test_the_teacher_keeps_statistics_of_its_own_from_training_mode_passes(batch):
    images, labels = batch
    inputs = keras.Input((12, 12, 1))
    x = keras.layers.BatchNormalization(momentum=0.5)(keras.layers.Flatten()(inputs))
    model = compiled(keras.Model(inputs, keras.layers.Dense(4)(x)))
    # keras: teacher.trainable = False would put its batch normalization into inference mode.
    train(model, images, labels)
    moving_mean = model.teacher.layers[2].moving_mean.numpy()
    np.testing.assert_allclose(moving_mean, 0.5 * images.reshape(32, -1).mean(axis=0), atol=1e-5)

    own = compiled(small_convnet(), keras.optimizers.SGD(0.5))
    train(own, images, labels, steps=3)
    pairs = [(s, t) for s, t in zip(own.student.weights, own.teacher.weights, strict=True) if s.name == "running_mean"]
    assert all(np.abs(t.numpy()).max() > 0 for _, t in pairs)
    assert all(np.abs(s.numpy() - t.numpy()).max() > 0 for s, t in pairs)


@pytest.mark.parametrize("method", ["mean_teacher", PI_SLOWLY, "supervised"])
def test_the_teachers_statistics_can_be_copied_or_averaged_instead(batch, method):
    images, labels = batch
    for rule, share in (("copy", 1.0), ("ema", 0.25)):
        model = compiled(small_convnet(), teacher_statistics=rule, method=method)
        train(model, images, labels, decay=0.75)
        pairs = [(s, t) for s, t in zip(model.student.weights, model.teacher.weights, strict=True) if not s.trainable]
        assert len(pairs) == STATISTICS
        for student, teacher in pairs:  # Running means start at 0.
            np.testing.assert_allclose(teacher.numpy(), share * student.numpy(), rtol=1e-5, atol=1e-8)


def test_the_average_waits_for_the_optimizer_when_gradients_accumulate(batch):
    images, labels = batch
    model = compiled(small_convnet(), keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
    start = values(model.teacher.trainable_variables)
    train(model, images, labels)
    assert largest_difference(start, values(model.teacher.trainable_variables)) == 0
    train(model, images, labels)
    assert largest_difference(start, values(model.teacher.trainable_variables)) > 0


def test_float16_is_trained_with_loss_scaling_and_skipped_steps_leave_the_teacher(batch):
    images, labels = batch
    model = compiled(small_convnet(dtype="mixed_float16"), keras.optimizers.SGD(0.1))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    before = values(model.weights)
    broken = images.copy()
    broken[0] = 1e30  # Infinite in float16.
    train(model, broken, labels)
    unmoved = {id(v): b for v, b in zip(model.weights, before, strict=True)}
    for variable in (*model.student.trainable_variables, *model.teacher.trainable_variables):
        np.testing.assert_array_equal(variable.numpy(), unmoved[id(variable)])


def test_the_exported_network_is_the_teacher(batch, tmp_path):
    from keras_mt.experiments.exporting.saved_model import export_saved_model

    images, labels = batch
    model = compiled(small_convnet(), keras.optimizers.SGD(0.5))
    train(model, images, labels, steps=3)
    export_saved_model(model.teacher, tmp_path / "exported", tuple("abcd"))
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    served = loaded.serve(images)["probabilities"].numpy()
    np.testing.assert_allclose(served, tf.nn.softmax(model.predict(images, verbose=0)), atol=1e-6)
    student = tf.nn.softmax(model.student(images, training=False)).numpy()
    assert np.abs(served - student).max() > 1e-3


@pytest.mark.parametrize("method", ["mean_teacher", PI_SLOWLY, "supervised"])
def test_the_step_is_traced_once_however_often_fit_is_called(batch, method):
    images, labels = batch
    traces = []

    class Counting(keras_mt.MeanTeacher):
        def train_step(self, data):
            traces.append(data)  # Python runs only while TensorFlow traces.
            return super().train_step(data)

    model = Counting(small_convnet(), method=method)
    model.compile("adam")
    callback = keras_mt.MeanTeacherCallback(1.0, rampup_steps=3, verbose=False)
    for _ in range(3):
        data = tf.data.Dataset.from_tensors((images, labels)).repeat()
        model.fit(data, steps_per_epoch=2, epochs=2, verbose=0, shuffle=False, callbacks=[callback])
    assert len(traces) == 1
