"""Bad examples and labels are a `ValueError` in Keras' style before the first step."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.networks import small_convnet

import keras_mt
from keras_mt.data import Sampling, training_batches


def with_(array, value, index=3):
    array = array.copy()
    array[index] = value
    return array


CASES = {
    "NaN pixel": (
        lambda x, y: (with_(x, np.nan, (5, 2, 2, 0)), y),
        r"finite numbers. Received: nan at index \(5, 2, 2, 0\); replace them before `fit`",
    ),
    "infinite pixel": (lambda x, y: (with_(x, np.inf), y), "finite numbers. Received: inf"),
    "no examples": (lambda x, y: (x[:0], y[:0]), r"must hold examples. Received: an array of shape \(0, 12, 12, 1\)"),
    "label C": (lambda x, y: (x, with_(y, 4)), "from 0 to 3, or -1 for unlabeled examples. Received: 4"),
    "label -2": (lambda x, y: (x, with_(y, -2)), "Received: -2"),
    "label in a column": (lambda x, y: (x, with_(y, 7)[:, None]), "Received: 7"),
    "float label": (lambda x, y: (x, with_(y.astype("float32"), 1.5)), "integer class labels. Received: 1.5"),
    "NaN label": (lambda x, y: (x, with_(y.astype("float32"), np.nan)), "integer class labels. Received: nan"),
    "no labels": (lambda x, y: (x, np.full_like(y, -1)), "labeled examples. Received: -1"),
    "labels in a list": (lambda x, y: (x, [int(k) for k in y]), r"Received: a list of \d+ numbers; make it an array"),
    "no one-hot labels": (lambda x, y: (x, np.full((len(y), 4), -1.0)), "labeled examples. Received: -1"),
}


@pytest.mark.parametrize("case", CASES)
def test_fit_refuses(batch, case):
    images, labels = batch
    change, message = CASES[case]
    model = keras_mt.MeanTeacher(small_convnet())
    model.compile()
    before = [w.numpy() for w in model.weights]
    with pytest.raises(ValueError, match=message):
        model.fit(*change(images, labels), callbacks=[keras_mt.MeanTeacherCallback(1.0, verbose=False)], verbose=0)
    assert all((a == b.numpy()).all() for a, b in zip(before, model.weights, strict=True))


def test_labels_are_counted_in_what_validation_split_leaves_to_train_on(batch):
    images, labels = batch
    student = keras.Sequential([keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    model = keras_mt.MeanTeacher(student)
    model.compile()
    automatic = keras_mt.MeanTeacherCallback("auto", verbose=False)
    arguments = {"validation_split": 0.25, "verbose": 0, "callbacks": [automatic]}
    with pytest.raises(ValueError, match=r"Received: -1 \(unlabeled\) for all 24 that `validation_split` leaves"):
        model.fit(images, labels[::-1], **arguments)
    with pytest.raises(ValueError, match="Received: 4"):  # Others are looked at, too.
        model.fit(images, with_(labels, 4, -1), **arguments)
    model.fit(images, labels, **arguments)
    assert automatic.maximum == pytest.approx(16 * 8 / 24)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"optimizer": None}, "`optimizer` must be an optimizer of Keras, or its name. Received: None"),
        ({"loss_weights": -1}, "`loss_weights` must be finite and not negative. Received: -1.0 for output 'p'"),
        ({"loss_weights": {"p": 1.0, "q": np.nan}}, "`loss_weights` must be.*Received: nan for output 'q'"),
        ({"loss": {"p": None, "q": "mse"}}, "`loss` must name a loss for each.*None for output 'p'.*task=None"),
    ],
)
def test_compile_refuses(arguments, sentence):
    inputs = keras.Input((4,))
    heads = {name: keras.layers.Dense(3)(inputs) for name in "pq"}
    model = keras_mt.MeanTeacher(keras.Model(inputs, heads), task={"p": "multiclass", "q": "regression"})
    with pytest.raises(ValueError, match=sentence):
        model.compile(**arguments)


def with_idle(outputs):
    inputs = keras.Input((4,))
    heads = [keras.layers.Dense(3, name=name)(inputs) for name in "pq"]
    task = [None, "regression"]
    as_dict = {"dict": lambda parts: dict(zip("pq", parts, strict=True)), "list": list}[outputs]
    return keras_mt.MeanTeacher(keras.Model(inputs, as_dict(heads)), task=as_dict(task))


@pytest.mark.parametrize("outputs", ["dict", "list"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"loss": {"p": None, "q": "mse"}},
        {"loss": {"q": "mse"}, "loss_weights": {"q": 2.0}},
        {"loss": "mse", "metrics": ["mae"]},
        {"metrics": {"p": [], "q": ["mae"]}},
        {"weighted_metrics": {"q": "mae"}},
    ],
    ids=str,
)
def test_an_output_without_a_task_needs_no_loss_and_no_metrics(outputs, arguments):
    with_idle(outputs).compile(**arguments)


@pytest.mark.parametrize("outputs", ["dict", "list"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"loss": {"p": "mse", "q": "mse"}},
        {"metrics": {"p": ["mae"]}},
        {"weighted_metrics": {"p": "mae", "q": "mae"}},
    ],
    ids=str,
)
def test_a_loss_or_metrics_for_an_output_without_a_task_are_refused(outputs, arguments):
    argument = next(iter(arguments))
    with pytest.raises(ValueError, match=f"`{argument}` must have nothing for output 'p', which has no task"):
        with_idle(outputs).compile(**arguments)


def test_a_list_of_losses_with_one_for_an_output_without_a_task_is_refused():
    model = with_idle("list")
    model.compile(loss=[None, "mse"], metrics=[None, ["mae"]])
    with pytest.raises(ValueError, match="`metrics` must have nothing for output 'p'.*Received: \\['mae'\\]"):
        model.compile(metrics=[["mae"], ["mae"]])


def test_fit_warns_of_a_class_without_a_labeled_example(batch):
    images, labels = batch
    model = keras_mt.MeanTeacher(small_convnet())
    model.compile()
    with pytest.warns(UserWarning, match="No labeled example of class 2 of 4"):
        model.fit(images, np.where(labels == 2, -1, labels), verbose=0, callbacks=[keras_mt.MeanTeacherCallback(1.0)])


def test_whole_numbers_as_floats_are_labels(batch):
    images, labels = batch
    model = keras_mt.MeanTeacher(small_convnet())
    model.compile()
    model.fit(images, labels.astype("float32"), verbose=0, callbacks=[keras_mt.MeanTeacherCallback(1.0, verbose=False)])


IMAGES = np.zeros((10, 12, 12, 1), "uint8")
LABELS = (np.arange(10) % 2).astype("int32")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("images", IMAGES.astype("float32")),
        ("images", IMAGES[..., 0]),
        ("images", IMAGES[:0]),
        ("labels", LABELS[:9]),
        ("labels", LABELS.astype("float32")),
        ("labels", LABELS - 2),
        ("labeled", np.array([], int)),
        ("labeled", np.array([10])),
        ("labeled", np.array([-1])),
        ("batch_size", 0),
        ("labeled_per_batch", 0),
        ("labeled_per_batch", 5),
        ("labeled_per_batch", "some"),
    ],
)
def test_training_batches_refuse(argument, value):
    arguments = {"images": IMAGES, "labels": LABELS, "labeled": np.array([0, 1])}
    sampling = {"batch_size": 4, "labeled_per_batch": 2, "seed": 0}
    (sampling if argument in sampling else arguments)[argument] = value
    with pytest.raises(ValueError, match=f"Argument `{argument}` must be .* Received: "):
        training_batches(**arguments, sampling=Sampling(**sampling))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: keras_mt.architectures.convnet13((8, 8, 3), 10), "at least 12×12 pixels"),
        (lambda: keras_mt.architectures.convnet13((32, 32, 3), 10, num_heads=3), "`num_heads` must be 1 or 2"),
        (lambda: keras_mt.architectures.convnet13((32, 32, 3), 10, width=0), "`width` must be positive"),
        (lambda: keras_mt.architectures.convnet13((16, 16, 3), 10, translate=16), "`max_pixels` must be below"),
        (lambda: keras_mt.MeanTeacher(small_convnet(), method="both"), "`method` must be one of"),
        (lambda: keras_mt.MeanTeacher(small_convnet(), consistency="l1"), "consistency"),
        (lambda: keras_mt.MeanTeacher(small_convnet(), logit_distance_weight=-1), "must not be negative"),
        (lambda: keras_mt.MeanTeacher(small_convnet(), logit_distance_weight=1), "two heads"),
        (lambda: keras_mt.MeanTeacher(keras.Sequential([keras.layers.Dense(3)])), "must be built"),
        (lambda: keras_mt.MeanTeacherCallback(-1.0), "`consistency_weight` must not be negative"),
        (lambda: keras_mt.MeanTeacherCallback(1.0, ema_decay=1.01), r"in the range \[0, 1\]"),
        (lambda: keras_mt.MeanTeacherCallback(float("nan")), "`consistency_weight`"),
    ],
)
def test_what_cannot_be_made_is_a_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "moving",
    [
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandAugment(),
        keras_mt.layers.RandomHorizontalFlip(),
        keras_mt.layers.RandomPixelTranslation(1),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_student_that_moves_pictures_is_refused_where_outputs_are_per_pixel(moving):
    layers = [moving, keras.layers.Conv2D(2, 3, padding="same")]
    with pytest.raises(ValueError, match=f"must not move pictures.*shared_augmentation.*{type(moving).__name__}"):
        keras_mt.MeanTeacher(keras.Sequential([keras.Input((8, 8, 1)), *layers]))
    whole = [*layers, keras.layers.GlobalAveragePooling2D()]
    keras_mt.MeanTeacher(keras.Sequential([keras.Input((8, 8, 1)), *whole]))


def test_a_student_that_moves_the_pictures_of_clips_is_refused_likewise():
    layers = keras.layers.TimeDistributed(keras.layers.RandomFlip("horizontal")), keras.layers.Conv3D(2, 1)
    with pytest.raises(ValueError, match="must not move pictures.*RandomFlip"):
        keras_mt.MeanTeacher(keras.Sequential([keras.Input((3, 8, 8, 1)), *layers]))


SPARSE = {
    "separate_passes": {"separate_passes": 4},
    "teacher_sees": {"teacher_sees": "unlabeled", "consistency_on_labeled": False},
    "mixing": {"mixing": keras_mt.mixing.Interpolation()},
    "perturbation": {"perturbation": keras_mt.VirtualAdversarial(1.0)},
}


@pytest.mark.parametrize("argument", SPARSE)
def test_options_that_need_rows_are_refused_for_sparse_inputs(argument):
    inputs = keras.Input((4,), sparse=True)
    student = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    with pytest.raises(ValueError, match=f"Argument `{argument}` needs examples as dense tensors.*sparse input"):
        keras_mt.MeanTeacher(student, **SPARSE[argument])


def test_an_augmentation_layer_that_fails_on_a_sparse_tensor_is_refused_with_what_to_do():
    inputs = keras.Input((4,), sparse=True)
    student = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    model = keras_mt.MeanTeacher(student, augmentation=keras.layers.GaussianNoise(0.1))
    model.compile("sgd")
    callback = keras_mt.MeanTeacherCallback(1.0, 0.5, verbose=False)
    with pytest.raises(ValueError, match="sparse ones give a function of them.*fails on a sparse tensor"):
        model.fit(tf.sparse.eye(6, 4), np.arange(6) % 3, callbacks=[callback], verbose=0, shuffle=False)


def test_one_view_where_two_are_asked_for_is_refused_in_a_sentence():
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model = keras_mt.MeanTeacher(student, two_views=True)
    model.compile("sgd")
    callback = keras_mt.MeanTeacherCallback(1.0, verbose=False)
    with pytest.raises(ValueError, match="two_views=True `fit` takes .*Received: one"):
        model.fit(np.ones((6, 4), "float32"), np.arange(6) % 3, callbacks=[callback], verbose=0)


TWO = (np.ones((8, 4), "float32"), np.zeros((8, 4), "float32"))
TWO_VIEWS = {
    "validation_split": lambda model, given: model.fit(*given, validation_split=0.25),
    "validation_data": lambda model, given: model.fit(*given, validation_data=given[:2]),
    "evaluate": lambda model, given: model.evaluate(*given[:2], verbose=0),
    "a data set": lambda model, given: model.evaluate(tf.data.Dataset.from_tensors(given[:2]), verbose=0),
    "predict": lambda model, given: model.predict(given[0], verbose=0),
}


@pytest.mark.parametrize("how", TWO_VIEWS)
@pytest.mark.parametrize("functional", [False, True])
def test_two_views_in_evaluation_are_refused_before_anything_is_trained(how, functional):
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    if functional:
        student = keras.Model(student.inputs, student.outputs[0])
    model = keras_mt.MeanTeacher(student, two_views=True)
    model.compile("sgd")
    with pytest.raises(ValueError, match="With two_views=True .*plain examples.*Received: "):
        TWO_VIEWS[how](model, (TWO, np.arange(8) % 3))
    assert int(model.batches_seen) == 0


def test_a_student_of_two_inputs_is_no_pair_of_views():
    inputs = [keras.Input((4,)), keras.Input((4,))]
    model = keras_mt.MeanTeacher(keras.Model(inputs, keras.layers.Dense(3)(inputs[0] + inputs[1])), two_views=True)
    model.compile("sgd")
    callback = keras_mt.MeanTeacherCallback(1.0, verbose=False)
    validation = list(TWO), np.arange(8) % 3
    model.fit((list(TWO), list(TWO)), validation[1], validation_data=validation, verbose=0, callbacks=[callback])
    assert model.predict(list(TWO), verbose=0).shape == (8, 3)


@pytest.mark.parametrize(
    ("kind", "layer"),
    [("list", keras.layers.GaussianNoise(0.1)), ("dict", keras.layers.GaussianNoise(0.1)),
     ("dict", keras.layers.RandomFlip())],
)  # fmt: skip
def test_a_layer_for_one_tensor_is_refused_as_the_augmentation_of_several_inputs(kind, layer):
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    outputs = keras.layers.Dense(3)(keras.layers.Concatenate()(list(inputs.values())))
    x = {"a": np.ones((6, 4), "float32"), "b": np.ones((6, 4), "float32")}
    if kind == "list":
        inputs, x = list(inputs.values()), list(x.values())
    model = keras_mt.MeanTeacher(keras.Model(inputs, outputs), augmentation=layer)
    model.compile("sgd")
    callback = keras_mt.MeanTeacherCallback(1.0, 0.5, verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras, of a dict for a layer of one tensor.
        with pytest.raises(ValueError, match=f"for several inputs.*give a function of them.*{type(layer).__name__}"):
            model.fit(x, np.arange(6) % 3, callbacks=[callback], verbose=0)
