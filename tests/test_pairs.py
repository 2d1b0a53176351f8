"""The pair table: options together train to the numbers of an independent computation, or are refused when built.

Full product of task, rank of outputs, method and passes; the other axes cover each pair of values that may be trained.
"""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import oracle
from support.arrangements import covering, pairs_of

import keras_mt

AXES = {
    "task": ("multiclass", "multilabel", "regression"),
    "rank": ("vector", "sequence", "map", "volume"),
    "method": ("mean_teacher", "pi", "temporal_ensembling", "supervised"),
    "passes": ("joint", "separate"),
    "structure": ("tensor", "list", "dict"),
    "precision": ("float32", "mixed_bfloat16", "mixed_float16", "float64", "floatx"),
    "views": ("plain", "augmentation", "shared_augmentation", "two_views"),
    "consistency": ("mse", "kl"),
    "on_labeled": (True, False),
    "reduction": ("batch", "labeled"),
    "weights": ("none", "class", "sample"),
    "top5": (False, True),
    "from_logits": (True, False),
}
REFUSED = {  # Pairs or triples that can't be right, and what the sentence names.
    "top5": lambda o: o.get("top5") and o.get("task", "multiclass") != "multiclass",
    "consistency": lambda o: o.get("consistency") == "kl" and o.get("task") == "regression",
    "class_weight": lambda o: (
        o.get("weights") == "class" and (o.get("task") == "regression" or o.get("structure", "tensor") != "tensor")
    ),
    "two_views": lambda o: o.get("views") == "two_views" and o.get("method") == "temporal_ensembling",
    "shared_augmentation": lambda o: (
        o.get("views") == "shared_augmentation"
        and o.get("method") == "temporal_ensembling"
        and o.get("rank", "vector") != "vector"
    ),
}
SHAPES = {"vector": (3,), "sequence": (5, 3), "map": (2, 3, 3), "volume": (2, 2, 2, 3)}
ROWS, LABELED, CLASSES, WEIGHT = 6, 3, 6, 2.0
CLASS_WEIGHT = {0: 1.0, 1: 3.0, 3: 0.5}
TRAINED = covering(AXES, ("task", "rank", "method", "passes"), lambda o: not any(r(o) for r in REFUSED.values()))


def named(row):
    return "-".join(value if isinstance(value, str) else f"{axis}={value}" for axis, value in row.items())


def refused_rows():
    """Each way to be refused, in one plain arrangement for each two values that it names."""
    plain = {axis: values[0] for axis, values in AXES.items()}
    rows = {}
    for (a, us), (b, vs) in itertools.combinations(AXES.items(), 2):
        for u, v in itertools.product(us, vs):
            row = {**plain, a: u, b: v}
            for word, is_refused in REFUSED.items():
                if is_refused(row):
                    rows.setdefault(named(row), (word, row))
    return list(rows.values())


def structure_of(row, values):
    return {"tensor": values[0], "list": values, "dict": dict(zip(("clip", "frame"), values, strict=False))}[
        row["structure"]
    ]


def tasks_of(row):
    """Two outputs have the row's task and the next one, so that outputs of several tasks are met."""
    tasks = AXES["task"]
    second = tasks[(tasks.index(row["task"]) + 1) % 3]
    if second == "regression" and row["consistency"] == "kl" or row["top5"]:
        second = row["task"]
    return [row["task"]] if row["structure"] == "tensor" else [row["task"], second]


def student_of(row):
    """One Dense layer over the last axis for each output; the second of a dict is one for the whole example."""
    inputs = keras.Input(SHAPES[row["rank"]])
    outputs = []
    for place, task in enumerate(tasks_of(row)):
        hidden = inputs
        if place and row["structure"] == "dict" and len(inputs.shape) > 2:
            hidden = keras.layers.Flatten()(hidden)
        activation = None
        if not row["from_logits"]:
            activation = {"multiclass": "softmax", "multilabel": "sigmoid", "regression": None}[task]
        outputs.append(keras.layers.Dense(CLASSES, activation=activation)(hidden))
    return keras.Model(inputs, structure_of(row, outputs))


def labels_of(row, random, shapes):
    labels = []
    for place, (task, shape) in enumerate(zip(tasks_of(row), shapes, strict=True)):
        if task == "multiclass":
            y = random.integers(0, CLASSES, shape[:-1])
        else:
            y = random.integers(0, 2, shape) if task == "multilabel" else random.normal(size=shape).astype("float32")
        missing = np.nan if task == "regression" else -1
        y[LABELED - place :] = missing  # Outputs are labeled in rows of their own.
        if y.ndim > 1:
            y[0, 0] = missing  # And inside of an example.
        labels.append(y)
    return labels


def built(row):
    student = student_of(row)
    arguments = {"augmentation": lambda x: 2.0 * x} if row["views"] == "augmentation" else {}
    if row["views"] == "shared_augmentation":
        arguments = {"shared_augmentation": lambda x, y: (2.0 * x, y)}
    model = keras_mt.MeanTeacher(
        student,
        task=structure_of(row, tasks_of(row)),
        method=row["method"],
        consistency=row["consistency"],
        consistency_on_labeled=row["on_labeled"],
        consistency_weights=structure_of(row, [1.0, 0.5]),
        reduction=row["reduction"],
        separate_passes=LABELED if row["passes"] == "separate" else None,
        two_views=row["views"] == "two_views",
        top5=row["top5"],
        from_logits=row["from_logits"],
        num_examples=ROWS,
        **arguments,
    )
    optimizer = keras.optimizers.SGD(0.0)
    if row["precision"] == "mixed_float16":  # Of a larger scale the first step would be skipped.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1.0)
    model.compile(optimizer, loss_weights=structure_of(row, [1.0, 2.0]), run_eagerly=True)
    keras_mt.MeanTeacherCallback(WEIGHT, verbose=False).set_model(model)
    return model


@pytest.fixture
def precision(request):
    kept = keras.config.floatx(), keras.config.dtype_policy()
    if request.param == "floatx":
        keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64" if request.param == "floatx" else request.param)
    yield
    keras.config.set_floatx(kept[0])
    keras.config.set_dtype_policy(kept[1])


def flat(values):
    return [np.asarray(tf.cast(v, "float64")) for v in keras.tree.flatten(values)]


def as_probabilities(row, outputs):
    return [
        oracle.probabilities(task, values) if row["from_logits"] else values
        for task, values in zip(tasks_of(row), outputs, strict=True)
    ]


@pytest.mark.parametrize(
    ("row", "precision"), [pytest.param(r, r["precision"], id=named(r)) for r in TRAINED], indirect=["precision"]
)
def test_options_together_train_to_the_numbers_of_numpy(row, precision):
    random = np.random.default_rng(0)
    model = built(row)
    model.teacher.set_weights([w + random.normal(size=w.shape) for w in model.teacher.get_weights()])
    x, other = (random.normal(size=(ROWS, *SHAPES[row["rank"]])).astype("float32") for _ in range(2))
    y = labels_of(row, random, [(ROWS, *o.shape[1:]) for o in model.outputs_of_student])
    sample_weight = random.uniform(0.5, 2.0, ROWS).astype("float32") if row["weights"] == "sample" else None
    scale = 2.0 if "augmentation" in row["views"] else 1.0
    given = (x, other) if row["views"] == "two_views" else x
    options = {"sample_weight": None if sample_weight is None else structure_of(row, [sample_weight] * 2)}
    class_weight = {c: w for c, w in CLASS_WEIGHT.items() if c < (2 if row["task"] == "multilabel" else CLASSES)}
    options["class_weight"] = class_weight if row["weights"] == "class" else None
    outputs = as_probabilities(row, flat(model.student(scale * x)))
    target = None
    if row["method"] == "temporal_ensembling":
        index = np.arange(ROWS)
        model.train_on_batch((other, index), structure_of(row, y), **options)
        model.reset_metrics()
        given, target = (x, index), as_probabilities(row, flat(model.student(scale * other)))
    elif row["method"] != "supervised":
        network = model.student if row["method"] == "pi" else model.teacher
        target = as_probabilities(row, flat(network(scale * (other if row["views"] == "two_views" else x))))
    got = model.train_on_batch(given, structure_of(row, y), **options, return_dict=True)

    label_cost, consistency, right = 0.0, 0.0, {}
    names = [o.metric_name("student_error") for o in model.outputs_of_student]
    for place, (task, labels, prediction) in enumerate(zip(tasks_of(row), y, outputs, strict=True)):
        mask = oracle.labeled(task, labels).astype(float)
        weight = mask.copy()
        if sample_weight is not None:
            weight *= sample_weight.reshape(-1, *[1] * (mask.ndim - 1))
        if row["weights"] == "class":
            weight *= np.vectorize(lambda c: class_weight.get(c, 1.0))(labels)
        costs = oracle.label_costs(task, labels, prediction, mask) * weight
        label_cost += (1.0, 2.0)[place] * costs.sum() / (mask.size if row["reduction"] == "batch" else weight.sum())
        right[names[place]] = oracle.errors(task, labels, prediction, mask)
        if target is not None:
            distances = oracle.consistency_costs(task, row["consistency"], target[place], prediction)
            part = np.ones_like(mask)
            if row["passes"] == "separate":
                part[:LABELED] = 0
            elif not row["on_labeled"]:
                part = 1 - mask
            divisor = part.sum() if row["reduction"] == "labeled" else part.size
            consistency += WEIGHT * (1.0, 0.5)[place] * (distances * part).sum() / divisor
    right["classification_cost"] = label_cost
    right["loss"] = label_cost + consistency
    if target is not None:
        right["consistency_cost"] = consistency
    tolerance = {"mixed_bfloat16": 6e-2, "mixed_float16": 1e-2}.get(row["precision"], 1e-4)
    for name, value in right.items():
        if not (name.endswith("error") and "mixed" in row["precision"]):  # Rounding moves what lies on the border.
            np.testing.assert_allclose(got[name], value, rtol=tolerance, atol=tolerance / 10, err_msg=name)
    check_evaluation(row, model, x, y)


def check_evaluation(row, model, x, y):
    """Both networks are evaluated on the labeled alone, whatever the batches are."""
    got = model.evaluate(x, structure_of(row, y), batch_size=4, verbose=0, return_dict=True)
    tolerance = {"mixed_bfloat16": 6e-2, "mixed_float16": 1e-2}.get(row["precision"], 1e-4)
    for network, name in (("student", "student_loss"), ("teacher", "loss")):
        outputs, loss = as_probabilities(row, flat(getattr(model, network)(x))), 0.0
        for place, (task, labels, prediction) in enumerate(zip(tasks_of(row), y, outputs, strict=True)):
            mask = oracle.labeled(task, labels).astype(float)
            costs = oracle.label_costs(task, labels, prediction, mask)
            loss += (1.0, 2.0)[place] * costs.sum() / (mask.size if row["reduction"] == "batch" else mask.sum())
            for what, among in [("error", 1), *([("top5_error", 5)] if row["top5"] else [])]:
                if "mixed" not in row["precision"]:  # Rounding moves what lies on the border.
                    right = oracle.errors(task, labels, prediction, mask, among)
                    metric = model.outputs_of_student[place].metric_name(f"{network}_{what}")
                    np.testing.assert_allclose(got[metric], right, rtol=1e-4, err_msg=metric)
        np.testing.assert_allclose(got[name], loss, rtol=tolerance, err_msg=name)


@pytest.mark.parametrize(("word", "row"), [pytest.param(w, r, id=named(r)) for w, r in refused_rows()])
def test_options_that_can_not_be_right_together_are_refused(word, row):
    with pytest.raises(ValueError, match=word):
        weighed_by_class(built(row)) if row["weights"] == "class" else built(row)


def weighed_by_class(model):
    """Of all options class weights alone are given to `fit`."""
    x, y = np.ones((ROWS, 3), "float32"), [np.ones((ROWS, CLASSES))] * len(model.outputs_of_student)
    model.train_on_batch(x, keras.tree.pack_sequence_as(model.student.output, y), class_weight=CLASS_WEIGHT)


def test_each_pair_that_may_be_trained_is_in_the_table():
    order = list(AXES)
    covered = {pair for row in TRAINED for pair in pairs_of(order, row)}
    for (a, us), (b, vs) in itertools.combinations(AXES.items(), 2):
        for u, v in itertools.product(us, vs):
            possible = not any(r({a: u, b: v}) for r in REFUSED.values())
            assert (((a, u), (b, v)) in covered) == possible, (a, u, b, v)
