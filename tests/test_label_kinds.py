"""Labels as people have them: whatever holds them, the same numbers, the same checks and the same sentences."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mt

pandas = pytest.importorskip("pandas")
X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
CLASSES = np.array([0, 1, 2, 0, 1, 2, -1, -1, -1, -1, -1, -1])
WEIGHT = np.linspace(0.5, 2.0, 12).astype("float32")
ALL = np.arange(12) % 3


def one_hot(classes, dtype="float32"):
    return np.where(classes[:, None] < 0, -1, np.arange(3) == classes[:, None]).astype(dtype)


def wrapped(outputs=3, **arguments):
    keras.utils.set_random_seed(0)
    model = keras_mt.MeanTeacher(keras.Sequential([keras.Input((4,)), keras.layers.Dense(outputs)]), **arguments)
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    return model


def fitted(x, y=None, model=None, **fit):
    """Three batches: each of them but the first shows what the labels before it have moved."""
    model = model or wrapped()
    callback = keras_mt.MeanTeacherCallback(1.0, verbose=False)
    if y is not None:
        fit["batch_size"] = 4
    history = model.fit(x, y, shuffle=False, verbose=0, callbacks=[callback], **fit).history
    return {name: history[name] for name in ("loss", "classification_cost", "student_error", "labeled_per_batch")}


@functools.cache
def right_numbers(labeled_everywhere=False, weighted=False):
    """What NumPy's arrays of integers train to."""
    weights = {"sample_weight": WEIGHT} if weighted else {}
    return fitted(X, ALL if labeled_everywhere else CLASSES, **weights)


def assert_same(got, right):
    for name, values in right.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-5, err_msg=name)


class Batches(keras.utils.PyDataset):
    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return tuple(a[4 * i : 4 * i + 4] for a in self.arrays)


def generator(*arrays):
    for _ in range(2):
        for i in range(3):
            yield tuple(a[4 * i : 4 * i + 4] for a in arrays)


def dataset(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(4)


KINDS = {
    "int8": CLASSES.astype("int8"),
    "int32": CLASSES.astype("int32"),
    "float32": CLASSES.astype("float32"),
    "float64": CLASSES.astype("float64"),
    "float16": CLASSES.astype("float16"),
    "column": CLASSES[:, None],
    "one-hot floats": one_hot(CLASSES),
    "one-hot ints": one_hot(CLASSES, "int64"),
    "tensor": tf.constant(CLASSES),
    "one-hot tensor": tf.constant(one_hot(CLASSES)),
    "series": pandas.Series(CLASSES),
    "series of its own index": pandas.Series(CLASSES, index=np.arange(100, 112)),
    "codes of a categorical": pandas.Series(pandas.Categorical(np.where(CLASSES < 0, np.nan, CLASSES))).cat.codes,
    "frame": pandas.DataFrame({"y": CLASSES}),
    "frame of dummies": pandas.DataFrame(one_hot(CLASSES, "int8")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_class_labels_trains_to_the_same_numbers(kind):
    assert_same(fitted(X, KINDS[kind]), right_numbers())


@pytest.mark.parametrize(
    "y",
    [ALL.astype("uint8"), ALL.astype("uint32"), ALL.astype("uint64"), one_hot(ALL, "bool"), one_hot(ALL, "uint8"),
     pandas.get_dummies(pandas.Series(ALL))],
    ids=["uint8", "uint32", "uint64", "one-hot bool", "one-hot uint8", "get_dummies"],
)  # fmt: skip
def test_dtypes_that_can_not_hold_minus_one_are_labeled_everywhere(y):
    assert_same(fitted(X, y), right_numbers(labeled_everywhere=True))


@pytest.mark.parametrize("x", [tf.constant(X), pandas.DataFrame(X), X.astype("float64")], ids=["tensor", "frame", "64"])
def test_examples_are_taken_as_keras_takes_them(x):
    assert_same(fitted(x, CLASSES), right_numbers())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["dataset", "one-hot dataset", "PyDataset", "generator", "bool generator"])
def test_what_comes_in_batches_trains_to_the_numbers_of_arrays(kind, weighted):
    weights = (WEIGHT,) if weighted else ()
    data = {
        "dataset": lambda: dataset(X, CLASSES, *weights),
        "one-hot dataset": lambda: dataset(X, one_hot(CLASSES), *weights),
        "PyDataset": lambda: Batches(X, CLASSES, *weights),
        "generator": lambda: generator(X, CLASSES, *weights),
        "bool generator": lambda: generator(X, one_hot(ALL, "bool"), *weights),
    }[kind]()
    steps = {"steps_per_epoch": 3} if "generator" in kind else {}
    assert_same(fitted(data, **steps), right_numbers(kind == "bool generator", weighted))


HOLDERS = {
    "array": lambda y: (X, y),
    "list of floats": lambda y: (X, np.asarray(y, "float64")),
    "tensor": lambda y: (tf.constant(X), tf.constant(y)),
    "dataset": lambda y: (dataset(X, y), None),
    "PyDataset": lambda y: (Batches(X, y), None),
    "generator": lambda y: (generator(X, y), None),
    "frame": lambda y: (X, pandas.Series(y) if y.ndim == 1 else pandas.DataFrame(y)),
}
ZEROS = np.where(np.arange(12)[:, None] < 4, one_hot(ALL), 0.0)
WRONG = {
    "7": ("multiclass", np.where(np.arange(12) == 3, 7, ALL), "from 0 to 2, or -1 for unlabeled.*Received: 7"),
    "-2": ("multiclass", np.where(np.arange(12) == 9, -2, ALL), "from 0 to 2, or -1 for unlabeled.*Received: -2"),
    "half": ("multiclass", np.where(np.arange(12) == 3, 0.5, ALL), "integer class labels. Received: 0.5"),
    "NaN": ("multiclass", np.where(np.arange(12) == 3, np.nan, ALL), "Received: nan"),
    "rows of zeros": ("multiclass", ZEROS, "one-hot.*-1.*sums to 0"),
    "four columns": ("multiclass", np.pad(one_hot(ALL), ((0, 0), (0, 1))), r"\[batch, 3\].*shape"),
    "two": ("multilabel", one_hot(ALL) * 2, "from 0 .no. to 1 .yes., or -1.*Received: 2"),
    "NaN yes": ("multilabel", np.where(one_hot(ALL) > 0, np.nan, 0.0), "Received: nan"),
    "infinite": ("regression", np.where(one_hot(ALL) > 0, np.inf, 0.0), "finite numbers, or NaN"),
}


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_labels_get_the_same_sentence_whatever_holds_them(wrong, holder):
    task, y, sentence = WRONG[wrong]
    x, y = HOLDERS[holder](y)
    model = wrapped(task=task)
    before = model.student.get_weights()
    fit = {} if holder != "generator" else {"steps_per_epoch": 3}
    with pytest.raises(ValueError, match=sentence):
        fitted(x, y, model=model, **fit)
    if holder in ("array", "tensor", "frame"):  # Of what comes in batches, the first of them may be right.
        np.testing.assert_array_equal(model.student.get_weights()[0], before[0])


NAMES = np.array(["cat", "dog", ""] * 4)


@pytest.mark.parametrize("holder", ["array", "tensor", "dataset", "PyDataset", "generator"])
def test_names_are_no_labels_whatever_holds_them(holder):
    x, y = HOLDERS[holder](NAMES)
    with pytest.raises(ValueError, match="Argument `y` must hold numbers.*-1 for unlabeled.*StringLookup.*Received"):
        fitted(x, y, **({} if holder != "generator" else {"steps_per_epoch": 3}))


@pytest.mark.parametrize("y", [CLASSES.astype(object), CLASSES.astype("datetime64[D]"), CLASSES.astype("complex64")],
                         ids=["object", "dates", "complex"])  # fmt: skip
def test_what_is_no_number_is_no_label(y):
    with pytest.raises(ValueError, match=f"Argument `y` must hold numbers.*{y.dtype.name[:7]}"):
        fitted(X, y)


def test_a_shared_augmentation_may_cut_labels_to_the_sizes_of_the_outputs():
    def cut(x, y):
        return x[:, 1:5], y[:, 1:5]

    student = keras.Sequential([keras.Input((4, 2)), keras.layers.Dense(3)])
    model = keras_mt.MeanTeacher(student, method="supervised", shared_augmentation=cut)
    model.compile(keras.optimizers.SGD(0.0))
    x, y = np.ones((12, 6, 2), "float32"), np.arange(72).reshape(12, 6) % 3
    costs = keras.losses.sparse_categorical_crossentropy(y[:, 1:5], student(x[:, 1:5]), from_logits=True)
    got = model.fit(x, y, batch_size=12, verbose=0).history["classification_cost"]
    np.testing.assert_allclose(got, np.mean(costs), rtol=1e-5)


@pytest.mark.parametrize("holder", ["array", "dataset", "PyDataset"])
@pytest.mark.parametrize(
    ("task", "shape"), [("multiclass", (12, 5)), ("multiclass", (12, 5, 3)), ("regression", (12, 5, 3))]
)
def test_labels_for_other_positions_than_those_of_the_outputs_are_refused(task, shape, holder):
    x = np.ones((12, 4, 2), "float32")
    y = np.zeros(shape, "int32") if task == "multiclass" and len(shape) == 2 else np.ones(shape, "float32") / shape[-1]
    data = {"array": (x, y), "dataset": (dataset(x, y), None), "PyDataset": (Batches(x, y), None)}[holder]
    model = keras_mt.MeanTeacher(keras.Sequential([keras.Input((4, 2)), keras.layers.Dense(3)]), task=task)
    model.compile("sgd")
    with pytest.raises(ValueError, match=r"Argument `y` must be.*\(None, 4, 3\). Received: shape \(\w+, 5"):
        model.fit(*data, callbacks=[keras_mt.MeanTeacherCallback(1.0, verbose=False)], verbose=0)


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        (X, pandas.Series(CLASSES, dtype="Int64"), "`y`.*'Int64'.*na_value=-1"),
        (X, pandas.Series(pandas.Categorical(list("abc") * 4)), "`y`.*'category'.*cat.codes"),
        (X, pandas.Series(list("abc") * 4, dtype=object), "`y`.*'object'"),
        (pandas.DataFrame(X).astype({2: "Float32"}), CLASSES, "`x`.*'Float32'"),
    ],
    ids=["nullable", "categorical", "words", "examples"],
)
@pytest.mark.parametrize("how", ["fit", "evaluate"])
def test_pandas_dtypes_that_numpy_has_not_are_refused_with_what_to_do(x, y, sentence, how):
    with pytest.raises(ValueError, match=sentence):
        getattr(wrapped(), how)(x, y, verbose=0)


@pytest.mark.parametrize("how", ["fit", "evaluate", "train_on_batch", "dataset", "validation"])
def test_no_labels_are_refused_in_words(how):
    model = wrapped(method="supervised")
    calls = {
        "fit": lambda: model.fit(X, verbose=0),
        "evaluate": lambda: model.evaluate(X, verbose=0),
        "train_on_batch": lambda: model.train_on_batch(X),
        "dataset": lambda: model.fit(tf.data.Dataset.from_tensor_slices(X).batch(4), verbose=0),
        "validation": lambda: model.fit(X, CLASSES, validation_data=X, verbose=0),
    }
    with pytest.raises(ValueError, match="labels|validation_data"):
        calls[how]()


@pytest.mark.parametrize("kind", ["tensor", "series", "one-hot", "column", "dataset", "PyDataset", "generator", "bool"])
def test_auto_counts_labels_of_each_kind(kind):
    y = ALL if kind == "bool" else CLASSES
    x, y = {
        "tensor": (tf.constant(X), tf.constant(y)),
        "series": (pandas.DataFrame(X), pandas.Series(y)),
        "one-hot": (X, one_hot(y)),
        "column": (X, y[:, None]),
        "dataset": (dataset(X, y), None),
        "PyDataset": (Batches(X, y), None),
        "generator": (generator(X, y), None),
        "bool": (X, one_hot(y, "bool")),
    }[kind]
    callback = keras_mt.MeanTeacherCallback("auto", verbose=False)
    wrapped().fit(x, y, verbose=0, callbacks=[callback])
    assert callback.maximum == pytest.approx(9.0 * (1.0 if kind == "bool" else 0.5))


def test_sparse_matrices_of_scipy_are_examples():
    sparse = pytest.importorskip("scipy.sparse")
    keras.utils.set_random_seed(0)
    model = keras_mt.MeanTeacher(keras.Sequential([keras.Input((4,), sparse=True), keras.layers.Dense(3)]))
    model.compile(keras.optimizers.SGD(0.1))
    assert_same(fitted(sparse.csr_matrix(X), CLASSES, model), right_numbers())


@pytest.mark.parametrize("kind", ["sparse", "ragged"])
def test_labels_that_are_not_dense_are_refused_in_a_sentence(kind):
    labels = tf.sparse.from_dense(one_hot(ALL)) if kind == "sparse" else tf.RaggedTensor.from_tensor(one_hot(ALL))
    data = tf.data.Dataset.from_tensor_slices((X, labels)).batch(4)
    for given in ((X, labels), (data,)):
        with pytest.raises(ValueError, match="`y` must be dense.*Received: (Sparse|Ragged)Tensor"):
            fitted(*given)


def test_examples_of_a_data_set_that_are_not_finite_are_refused_before_they_train_anything():
    x = np.where(np.arange(12)[:, None] > 9, np.nan, X).astype("float32")
    model = wrapped()
    with pytest.raises(ValueError, match="`x` must hold finite numbers. Received: others; replace them before `fit`"):
        fitted(tf.data.Dataset.from_tensor_slices((x, CLASSES)).batch(4), model=model)
    assert all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"class_weight": [1.0, 2.0, 3.0]}, "`class_weight` must be a dict.*Received: list"),
        ({"class_weight": {"0": 5.0}}, "`class_weight` must name classes from 0 to 2. Received: '0'"),
        ({"class_weight": {0: np.nan}}, "`class_weight` must hold finite numbers. Received: nan"),
        ({"sample_weight": np.full(12, np.nan)}, "`sample_weight` must hold finite numbers"),
        ({"sample_weight": np.ones((12, 3))}, r"`sample_weight` must be one number an example.*shape \(4, 3\)"),
    ],
)
def test_weights_that_are_none_are_refused_in_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        fitted(X, CLASSES, **arguments)


def test_a_model_that_is_not_compiled_gets_the_sentence_of_keras():
    model = keras_mt.MeanTeacher(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]))
    with pytest.raises(ValueError, match="compile"):
        model.fit(X, CLASSES)


def test_outputs_in_a_list_are_named_as_keras_names_them():
    inputs = keras.Input((4,))
    heads = [keras.layers.Dense(3, name="kind")(inputs), keras.layers.Dense(1, name="size")(inputs)]
    size = np.where(CLASSES < 0, np.nan, X[:, 0]).astype("float32")[:, None]
    histories = []
    for given in (list, dict):

        def each(*values):
            return list(values) if given is list else dict(zip(("kind", "size"), values, strict=True))  # noqa: B023

        keras.utils.set_random_seed(0)
        student = keras.models.clone_model(keras.Model(inputs, heads))
        model = keras_mt.MeanTeacher(student, task=each("multiclass", "regression"))
        model.compile(keras.optimizers.SGD(0.1), loss=each("sparse_categorical_crossentropy", "mse"),
                      loss_weights=each(1.0, 2.0), run_eagerly=True)  # fmt: skip
        callback = keras_mt.MeanTeacherCallback(1.0, verbose=False)
        histories.append(model.fit(X, each(CLASSES, size), batch_size=4, shuffle=False, verbose=0, callbacks=[callback],
                                   sample_weight=each(WEIGHT, WEIGHT)).history)  # fmt: skip
    assert_same(histories[1], histories[0])
    with pytest.raises(ValueError, match=r"`loss` must have one entry for each output of \['kind', 'size'\]"):
        model.compile("sgd", loss={"kind": None, "weight": "mse"})


@pytest.mark.parametrize("structure", [dict, list])
@pytest.mark.parametrize("given", ["numbers", "dict", "data set"])
def test_an_output_without_a_task_needs_no_weights_as_it_needs_no_labels(structure, given):
    inputs = keras.Input((4,))
    heads = {name: keras.layers.Dense(3, name=name)(inputs) for name in "abc"}
    student = keras.Model(inputs, heads if structure is dict else list(heads.values()))
    tasks = {"a": "multiclass", "b": None, "c": "multiclass"}
    model = keras_mt.MeanTeacher(student, task=tasks, method="supervised", reduction="labeled")
    model.compile(keras.optimizers.SGD(0.0))
    y, labeled = {"a": CLASSES, "c": CLASSES}, CLASSES >= 0
    weights = WEIGHT if given == "numbers" else {"a": WEIGHT, "c": WEIGHT}
    if given == "data set":
        history = model.fit(tf.data.Dataset.from_tensors((X, y, weights)), verbose=0).history
    else:
        history = model.fit(X, y, sample_weight=weights, batch_size=12, verbose=0).history
    outputs = keras.tree.flatten(student(X))
    for name, place in (("a", 0), ("c", 2)):
        costs = keras.losses.sparse_categorical_crossentropy(CLASSES[labeled], outputs[place][labeled], True)
        right = np.sum(costs * WEIGHT[labeled]) / np.sum(WEIGHT[labeled])
        np.testing.assert_allclose(history[f"{name}_classification_cost"], right, rtol=1e-5)
    with pytest.raises(ValueError, match=r"`sample_weight` must have one entry for each output"):
        model.fit(tf.data.Dataset.from_tensors((X, y, {"a": WEIGHT})), verbose=0)
