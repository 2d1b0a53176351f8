"""What is asked of a student when it is wrapped: that it is built, which outputs it has, what it ends in."""

import itertools
import warnings
from collections.abc import Callable

import keras

_PASSED_ON = (
    keras.layers.Reshape,
    keras.layers.Flatten,
    keras.layers.Permute,
    keras.layers.Dropout,
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
    keras.layers.Cropping3D,
    keras.layers.UpSampling1D,
    keras.layers.UpSampling2D,
    keras.layers.UpSampling3D,
    keras.layers.Identity,
)
_UPDATING = ("train_step", "compute_metrics")
_NOT_CALLED = ("train_step", "test_step", "predict_step", "compute_metrics", "fit", "evaluate", "predict")


def check_built(student: keras.Model) -> None:
    """Raises a `ValueError` unless the student is a built model."""
    if not isinstance(student, keras.Model):
        raise ValueError(f"Argument `student` must be a `keras.Model`. Received: {type(student).__name__}")
    if not student.built:
        raise ValueError(
            f"The student {student.name!r} must be built before it is wrapped. Give it an `Input`, or call it once "
            "on a batch."
        )


def output_spec(student: keras.Model, training: bool = False):
    """Returns the structure of a student's outputs as symbolic tensors; None if a subclassed one does not tell.

    Args:
        student: The student.
        training: In which mode, of a subclassed one whose `call` has such an argument.
    """
    if isinstance(getattr(student, "outputs", None), (list, tuple)) and student.outputs:
        return student.outputs[0] if isinstance(student, keras.Sequential) else student.output
    config = student.get_build_config() or {}
    shapes = config.get("input_shape", config.get("shapes_dict"))
    for dtype, mode in itertools.product(("float32", "int32"), ({"training": training}, {})):
        try:
            return student.compute_output_spec(_symbolic(shapes, dtype), **mode)
        except Exception:  # Whatever the network's own code raises on a symbolic input.
            continue
    return None


def input_shapes(student: keras.Model) -> list[tuple]:
    """Returns the shapes of a student's inputs, the batch first; none if a subclassed one does not tell."""
    inputs = getattr(student, "inputs", None)
    if inputs:
        return [tuple(tensor.shape) for tensor in keras.tree.flatten(inputs)]
    shape = (student.get_build_config() or {}).get("input_shape")
    is_one = isinstance(shape, (tuple, list)) and all(size is None or isinstance(size, int) for size in shape)
    return [(None, *shape[1:])] if is_one and shape else []


def input_structures(student: keras.Model) -> list:
    """Returns in which structures a student takes its one input: its own, if it has one, and None for a tensor."""
    own = None if isinstance(student, keras.Sequential) or not getattr(student, "inputs", None) else student.input
    return [own, None] if keras.tree.is_nested(own) else [None]


def number_of_inputs(student: keras.Model) -> int:
    """Returns how many tensors a student takes; of a subclassed one, how many it was built on."""
    if getattr(student, "inputs", None):
        return len(keras.tree.flatten(student.inputs))
    config = student.get_build_config() or {}
    shapes = config.get("input_shape", config.get("shapes_dict"))
    return 1 if shapes is None else len(keras.tree.flatten(_symbolic(shapes, "float32")))


def _symbolic(shapes, dtype):
    if isinstance(shapes, dict):
        return {name: _symbolic(shape, dtype) for name, shape in shapes.items()}
    if isinstance(shapes, (list, tuple)) and shapes and isinstance(shapes[0], (list, tuple, dict)):
        return [_symbolic(shape, dtype) for shape in shapes]
    return keras.KerasTensor((None, *shapes[1:]), dtype)


def final_activation(student: keras.Model, place: int) -> str | None:
    """Returns `"softmax"` or `"sigmoid"` if that is the last that a student does for an output, else None.

    Nested models and layers that only move numbers are looked through. A subclassed student shows it in the first
    batch only.
    """
    outputs = getattr(student, "outputs", None)
    if not outputs:
        return None
    tensor = outputs[place]
    while True:
        operation, node, index = tensor._keras_history  # Private, and Keras is pinned; the first batch is seen as well.
        if isinstance(operation, keras.Model):
            return final_activation(operation, index)
        activation = activation_of(operation)
        if activation:
            return activation
        linear = isinstance(operation, keras.layers.Activation) and operation.activation is keras.activations.linear
        if not linear and not isinstance(operation, _PASSED_ON):
            return None
        inputs = operation._inbound_nodes[node].input_tensors
        if len(inputs) != 1:
            return None
        tensor = inputs[0]


def activation_of(layer) -> str | None:
    """Returns `"softmax"` or `"sigmoid"` if a layer or an operation ends in it, else None."""
    if isinstance(layer, keras.layers.Wrapper):
        layer = layer.layer
    if isinstance(layer, keras.Model):
        return final_activation(layer, 0)
    activation = getattr(layer, "activation", None)
    for name in ("softmax", "sigmoid"):
        # Of `keras.ops.softmax(x)` the operation bears the name.
        if activation is getattr(keras.activations, name) or type(layer).__name__ == name.capitalize():
            return name
    return None


def check_probabilities(task: str, from_logits: bool, activation: str | None, output: str) -> None:
    """Raises a `ValueError` if the layers of a student show that probabilities would be taken for logits."""
    if from_logits and activation and task != "regression":
        raise ValueError(
            f"The student ends in a {activation} ({output}), so `from_logits` must be False. Received: from_logits=True"
        )


def check_values(
    task: str, from_logits: bool, values, output: str, stays_between: Callable[[], bool] = lambda: False
) -> None:
    """Checks some of the student's outputs: what the layers did not show.

    Args:
        task: Name of the task.
        from_logits: What was said of the outputs.
        values: Eager tensor `[examples, ..., classes]`.
        output: What the output is called in a sentence.
        stays_between: Asked of yes-or-no outputs in [0, 1] only: whether they stay there under other weights.

    Raises:
        ValueError: If probabilities were called logits, or the other way round.
    """
    values = values.numpy().astype("float64")
    if task == "regression" or not values.size:
        return
    between = bool(((values >= 0) & (values <= 1)).all())
    sums = values.sum(axis=-1)
    to_one = values.shape[-1] > 1 and bool((abs(sums - 1) < 2e-2).all())
    if from_logits and task == "multiclass" and between and to_one:
        raise ValueError(
            f"The student gives probabilities ({output}: rows in [0, 1] that sum to 1), so `from_logits` must be "
            "False. Received: from_logits=True"
        )
    if from_logits and task == "multilabel" and between and ((values > 0) & (values < 1)).any() and stays_between():
        raise ValueError(
            f"The student gives numbers in [0, 1] whatever its weights are ({output}), as a sigmoid does, so "
            "`from_logits` must be False. Received: from_logits=True"
        )
    if not from_logits and not (between and (task != "multiclass" or to_one)):
        allowed = "rows in [0, 1] that sum to 1" if task == "multiclass" else "numbers in [0, 1]"
        raise ValueError(
            f"With from_logits=False the student must give probabilities, {allowed}. Received: {output} with numbers "
            f"from {values.min():g} to {values.max():g}"
            + (f" and rows that sum to {sums.flat[0]:g}" if task == "multiclass" else "")
        )


def sparse_inputs(student: keras.Model) -> list:
    """Returns the inputs of a functional student that are sparse tensors, whose rows can't be indexed."""
    inputs = keras.tree.flatten(getattr(student, "inputs", None) or [])
    return [part for part in inputs if getattr(part, "sparse", False)]


def own_method(student: keras.Model, name: str) -> bool:
    """Whether a user's class overrides a method of `keras.Model`."""
    for kind in type(student).__mro__:
        if name in vars(kind):
            return kind.__module__.split(".")[0] != "keras"
    return False


def own_metrics(student: keras.Model, layers: list) -> list[keras.metrics.Metric]:
    """Returns the metrics that a student and its layers hold, as Keras would log them in training.

    Not those of nested models, which Keras leaves out, nor those that only a method updates that is not called.

    Args:
        student: The student.
        layers: All its layers.
    """
    below = [layer for layer in layers if layer is not student]
    theirs = {id(metric) for layer in below for metric in layer.metrics}
    own = []
    if not any(own_method(student, name) for name in _UPDATING):
        # Not `student.metrics`, which holds those of `compile`, and which its class may override.
        own = [metric for metric in keras.Layer.metrics.fget(student) if id(metric) not in theirs]
    own += [metric for layer in below if not isinstance(layer, keras.Model) for metric in layer.metrics]
    return list({id(metric): metric for metric in own}.values())


def warn_of_methods(student: keras.Model) -> None:
    """Warns of the student's own methods that `MeanTeacher` does not call."""
    own = [name for name in _NOT_CALLED if own_method(student, name)]
    if own:
        warnings.warn(
            f"The student's own {', '.join(f'`{name}`' for name in own)} ({type(student).__name__}) is not called: "
            "`MeanTeacher` has steps of its own. Put what it computes into a loss, a layer or `compute_loss`.",
            stacklevel=3,
        )
