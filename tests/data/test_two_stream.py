"""What every kind of label becomes in batches of labeled and unlabeled examples."""

import resource

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mt.data import two_stream

NAN = float("nan")
CLASSES = np.arange(12) % 3
SHAPES = {
    "classes": lambda classes: classes,
    "column": lambda classes: classes[:, None],
    "one-hot": lambda classes: np.eye(3)[classes],
    "map": lambda classes: np.tile(classes[:, None, None], (1, 2, 5)),
    "volume": lambda classes: np.tile(classes[:, None, None, None], (1, 2, 3, 4)),
}
DTYPES = (
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
    "float16", "bfloat16", "float32", "float64",
)  # fmt: skip


def features(count, start=0):
    return np.arange(start, start + count, dtype="float32")[:, None].repeat(4, axis=1)


def batches_of(labels, **arguments):
    """Three batches of two labeled examples, whose `x` is the number of the example, and four others."""
    labeled = tf.data.Dataset.from_tensor_slices((features(12), labels))
    unlabeled = tf.data.Dataset.from_tensor_slices(features(40, start=100))
    arguments = {"labeled_per_batch": 2, "batch_size": 6, "seed": 1} | arguments
    return two_stream(labeled, unlabeled, **arguments)


def rows_match(made, labels, x, no_label):
    """The first two rows are the examples' labels as numbers, the others `no_label` throughout."""
    examples = x[:2, 0].astype(int)
    np.testing.assert_array_equal(made[:2].astype("float64"), labels[examples].astype("float64"))
    np.testing.assert_array_equal(made[2:].astype("float64"), np.full((4, *labels.shape[1:]), no_label))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_labels_of_any_kind_stay_and_no_label_is_minus_1(dtype, shape):
    labels = tf.cast(SHAPES[shape](CLASSES), dtype)
    dataset = batches_of(labels)
    for x, y in dataset.take(3):
        rows_match(y.numpy(), labels.numpy(), x.numpy(), -1)
    spec = dataset.element_spec[1]
    assert spec.shape == (6, *labels.shape[1:])
    assert spec.dtype.name == {"bool": "int32", "uint64": "int64", "uint32": "int64"}.get(
        dtype, "int32" if dtype.startswith("u") else dtype
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_numbers_have_nan_for_no_label(dtype):
    labels = tf.cast(np.linspace(-3, 3, 24).reshape(12, 2), dtype)
    for x, y in batches_of(labels, unlabeled_label=NAN).take(3):
        rows_match(y.numpy(), labels.numpy(), x.numpy(), NAN)


OUTPUTS = {
    "class": CLASSES.astype("uint8"),
    "tags": np.eye(3, dtype=bool)[CLASSES],
    "position": np.linspace(0, 1, 24).reshape(12, 2).astype("float32"),
    "map": np.tile(CLASSES[:, None, None], (1, 2, 2)),
}


@pytest.mark.parametrize("as_tuple", [False, True])
@pytest.mark.parametrize("given", ["one value", "each output's"])
def test_each_output_has_its_own_no_label(as_tuple, given):
    value = NAN if given == "one value" else {"class": -1, "tags": -1, "position": NAN, "map": -1}
    labels = OUTPUTS
    if as_tuple:
        labels = tuple(OUTPUTS.values())
        value = tuple(value.values()) if isinstance(value, dict) else value
    for x, y in batches_of(labels, unlabeled_label=value).take(3):
        y = dict(zip(OUTPUTS, y, strict=True)) if as_tuple else y
        for name, expected in OUTPUTS.items():
            rows_match(y[name].numpy(), expected, x.numpy(), NAN if name == "position" else -1)


def test_floats_that_are_numbers_need_their_no_label_given():
    with pytest.raises(tf.errors.InvalidArgumentError, match="Argument `unlabeled_label` must be given"):
        list(batches_of(OUTPUTS).take(1))
    with pytest.raises(tf.errors.InvalidArgumentError, match="Argument `unlabeled_label` must be given"):
        list(batches_of(np.full(12, 0.5)).take(1))
    shares = np.full((12, 2), 0.3)
    assert [y[2, 0] for _, y in batches_of(shares, unlabeled_label=-1).take(2)] == [-1, -1]


def test_rows_of_probabilities_are_classes():
    smooth = np.eye(3)[CLASSES] * 0.9 + 0.1 / 3
    for x, y in batches_of(smooth).take(2):
        rows_match(y.numpy(), smooth, x.numpy(), -1)


@pytest.mark.parametrize("known", ["height and width unknown", "rank unknown"])
def test_maps_of_unknown_shape(known):
    shape = [None, None] if known.startswith("height") else None

    def forget(x, label):
        label = tf.py_function(lambda y: y, [label], "uint8")
        return x, tf.ensure_shape(label, shape)

    labels = SHAPES["map"](CLASSES).astype("uint8")
    labeled = tf.data.Dataset.from_tensor_slices((features(12), labels)).map(forget)
    dataset = two_stream(labeled, tf.data.Dataset.from_tensor_slices(features(9, 100)), 2, 6)
    expected = [6, None, None] if shape else None
    assert dataset.element_spec[1].shape.as_list() == expected if shape else dataset.element_spec[1].shape.rank is None
    for x, y in dataset.take(2):
        rows_match(y.numpy(), labels, x.numpy(), -1)


def test_maps_whose_shape_differs_between_batches():
    def examples():
        for number in range(6):  # Each size twice in a row: of one batch.
            yield (
                np.full((4 + number // 2, 3, 1), number, "float32"),
                np.full((4 + number // 2, 3), number % 3, "int32"),
            )

    signature = (tf.TensorSpec((None, None, 1), "float32"), tf.TensorSpec((None, None), "int32"))
    labeled = tf.data.Dataset.from_generator(examples, output_signature=signature)
    unlabeled = labeled.map(lambda x, label: -x)
    sizes = []
    for x, y in two_stream(labeled, unlabeled, 2, 4, shuffle_buffer=0).take(3):
        assert x.shape[:3] == y.shape
        assert (y.numpy()[2:] == -1).all()
        np.testing.assert_array_equal(y[0], x[0, ..., 0] % 3)
        sizes.append(y.shape[1])
    assert sizes == [4, 5, 6]


@pytest.mark.parametrize("second", ["nothing", "labels", "labels and weights"])
@pytest.mark.parametrize("kind", ["tensor", "dict", "tuple"])
def test_x_of_any_structure_and_what_follows_it_is_not_looked_at(kind, second):
    def x(count, start=0):
        values = features(count, start)
        return {"tensor": values, "dict": {"a": values, "b": {"c": values[:, 0]}}, "tuple": (values, -values)}[kind]

    rest = {"nothing": (), "labels": (np.arange(40) % 3,), "labels and weights": (np.arange(40), np.ones(40))}[second]
    elements = (x(40, 100), *rest) if rest else x(40, 100)
    labeled = tf.data.Dataset.from_tensor_slices((x(12), CLASSES))
    unlabeled = tf.data.Dataset.from_tensor_slices(elements)
    for made, y in two_stream(labeled, unlabeled, 2, 6).take(3):
        tf.nest.assert_same_structure(made, x(1))
        columns = [np.abs(np.reshape(part, (6, -1))[:, 0]) for part in tf.nest.flatten(made)]
        for column in columns:
            np.testing.assert_array_equal(column, columns[0])
        np.testing.assert_array_equal(y, np.where(np.arange(6) < 2, columns[0] % 3, -1))
        assert (columns[0][2:] >= 100).all()


def test_lists_of_arrays_are_tuples():
    labeled, unlabeled = [features(12), features(12)], [features(40, 100), features(40, 100)]
    made, y = next(iter(two_stream((labeled, [CLASSES, CLASSES]), unlabeled, 2, 6, unlabeled_label=[-1, -1])))
    assert (type(made), type(y)) == (tuple, tuple)
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(y[0], np.where(np.arange(6) < 2, made[0][:, 0] % 3, -1))


def slices(*parts):
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0])


X, U = features(12), features(40)
LABELED, UNLABELED = slices(X, CLASSES), slices(U)


@pytest.mark.parametrize(
    ("arguments", "culprit", "told"),
    [
        ({"labeled_per_batch": 0}, "labeled_per_batch", "from 1 to 5"),
        ({"labeled_per_batch": 6}, "labeled_per_batch", "from 1 to 5"),
        ({"labeled_per_batch": 1.5}, "labeled_per_batch", "from 1 to 5"),
        ({"batch_size": "6"}, "batch_size", "whole number"),
        ({"shuffle_buffer": -1}, "shuffle_buffer", "0"),
        ({"seed": -1}, "seed", "from 0"),
        ({"seed": 2**31}, "seed", "from 0"),
        ({"labeled": (X, CLASSES[:5])}, "labeled", "as many examples each"),
        ({"labeled": (X, 3)}, "labeled", "as many examples each"),
        ({"unlabeled": U[:0]}, "unlabeled", "at least one"),
        ({"unlabeled": U[:, :3]}, "unlabeled", "shape=(3,)"),
        ({"unlabeled": None}, "unlabeled", "arrays"),
        ({"labeled": slices(X)}, "labeled", "pairs"),
        ({"labeled": slices(X, CLASSES, CLASSES)}, "labeled", "pairs"),
        ({"labeled": LABELED.take(0)}, "labeled", "at least one example"),
        ({"unlabeled": UNLABELED.take(0)}, "unlabeled", "at least one example"),
        ({"unlabeled": slices(U.astype("float64"))}, "unlabeled", "float64"),
        ({"unlabeled": slices(U[:, :3])}, "unlabeled", "shape=(3,)"),
        ({"unlabeled": slices({"a": U})}, "unlabeled", "'a'"),
        ({"unlabeled": UNLABELED.batch(4)}, "unlabeled", "(None, 4)"),
        ({"labeled": slices(X, CLASSES.astype(str))}, "labeled", "numbers"),
        ({"labeled": slices(X, CLASSES + 1j)}, "labeled", "numbers"),
        ({"labeled": LABELED.map(lambda x, y: (x, tf.RaggedTensor.from_tensor([[y]])))}, "labeled", "dense"),
        ({"unlabeled_label": NAN}, "unlabeled_label", "must be -1 for labels of int64"),
        ({"unlabeled_label": -100}, "unlabeled_label", "must be -1 for labels of int64"),
        ({"unlabeled_label": {"a": -1}}, "unlabeled_label", "structure"),
        (
            {"labeled": slices(X, X), "unlabeled_label": 0.0},
            "unlabeled_label",
            "must be -1 or NaN for labels of float32",
        ),
        ({"labeled": slices(X, OUTPUTS), "unlabeled_label": {"class": -1}}, "unlabeled_label", "structure"),
    ],
)
def test_what_cannot_be_right_is_refused_when_it_is_built(arguments, culprit, told):
    arguments = {"labeled": LABELED, "unlabeled": UNLABELED, "labeled_per_batch": 2, "batch_size": 6} | arguments
    with pytest.raises(ValueError, match=f"(?s)Argument `{culprit}` must .* Received: {culprit}=") as raised:
        two_stream(**arguments)
    assert told in str(raised.value)


def test_examples_without_a_label_of_one_output_among_the_labeled_ones():
    partly = np.where(np.arange(12) % 2, -1, CLASSES)
    for x, y in batches_of({"a": CLASSES, "b": partly}).take(3):
        rows_match(y["b"].numpy(), partly, x.numpy(), -1)


@pytest.mark.parametrize("kind", ["tensor", "dict", "tuple"])
@pytest.mark.parametrize("mapped", [False, True])
def test_arrays_are_as_good_as_data_sets(tmp_path, kind, mapped):
    def array(name, values):
        np.save(tmp_path / name, values)
        return np.load(tmp_path / f"{name}.npy", mmap_mode="r") if mapped else values

    def x(name, count, start=0):
        values = array(name, features(count, start))
        return {"tensor": values, "dict": {"a": values}, "tuple": (values, values)}[kind]

    labels = {name: array(name, values) for name, values in OUTPUTS.items()}
    labeled, unlabeled = (x("labeled", 12), labels), (x("unlabeled", 40, 100), array("other", np.arange(40)))
    seen = []
    for made, y in two_stream(labeled, unlabeled, 2, 6, seed=1, unlabeled_label=NAN).take(60):
        rows = tf.nest.flatten(made)[0].numpy()
        for name, expected in OUTPUTS.items():
            rows_match(y[name].numpy(), expected, rows, NAN if name == "position" else -1)
        seen.append(rows[:, 0])
    seen = np.array(seen)
    for stream, examples in ((seen[:, :2], range(12)), (seen[:, 2:], range(100, 140))):
        passes = stream.reshape(-1, len(examples))  # Ten passes and six, across batch borders.
        assert all(sorted(one) == list(examples) for one in passes)
        assert len({tuple(one) for one in passes}) == len(passes)
    in_order = two_stream(labeled, unlabeled, 2, 6, shuffle_buffer=0, unlabeled_label=NAN)
    rows = [tf.nest.flatten(made)[0].numpy()[:, 0] for made, _ in in_order.take(10)]
    np.testing.assert_array_equal(np.array(rows)[:, 2:].ravel(), range(100, 140))


def test_an_array_and_a_data_set_may_be_mixed():
    for labeled, unlabeled in (((X, CLASSES), slices(U + 100)), (LABELED, U + 100)):
        for x, y in two_stream(labeled, unlabeled, 2, 6).take(3):
            rows_match(y.numpy(), CLASSES, x.numpy(), -1)


def test_a_memory_mapped_array_of_unlabeled_examples_is_not_read_into_memory(tmp_path):
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "float32", (1_000_000, 100))  # A sparse file: 400 MB.
    del mapped
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    tracked = np.ones((12, 100), "float32"), CLASSES

    def held():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    list(two_stream(tracked, mapped[:100], 2, 6).take(1))  # What TensorFlow allocates the first time.
    before = held()
    list(two_stream(tracked, mapped, 2, 6).take(10))
    assert held() - before < 100e6


@pytest.mark.parametrize("global_seed", [None, 0, 3])
def test_the_order_is_that_of_the_seed_however_far_an_earlier_reader_has_read_ahead(global_seed):
    def batches(examples):
        labeled = tf.data.Dataset.from_tensor_slices((np.arange(20.0)[:, None], np.arange(20) % 4))
        unlabeled = tf.data.Dataset.from_tensor_slices(np.arange(20.0, 120.0)[:, None])
        if global_seed is not None:
            keras.utils.set_random_seed(global_seed)
        return two_stream(labeled, unlabeled, 4, 14, shuffle_buffer=1000, seed=examples)

    def rows(data, count=10):
        return [x[:, 0].numpy().tolist() for x, _ in data.take(count)]

    one, other = batches(5), batches(5)
    first = rows(one)
    assert rows(other, 40)[:10] == first
    assert rows(one) == rows(other)
    assert rows(one) != first
    assert rows(batches(6)) != first
    unlabeled = sum((row[4:] for row in first), [])
    assert sorted(unlabeled) == list(range(20, 120))
    assert one.cardinality() == tf.data.INFINITE_CARDINALITY


def test_a_data_set_that_turns_out_to_be_empty_is_told():
    examples = tf.data.Dataset.from_tensor_slices((np.zeros((8, 1)), np.zeros(8, "int32")))
    batches = two_stream(examples, examples.filter(lambda x, y: y > 0), 2, 4)
    with pytest.raises(tf.errors.FailedPreconditionError, match="contained only 0 elements"):
        next(iter(batches))
