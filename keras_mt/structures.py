"""The structure of a student's outputs, and what an argument says of each of them."""

import copy
from collections.abc import Callable

import keras
from keras import ops


def spread(value, template, argument: str) -> list:
    """Returns what an argument says of each output, in the order in which `keras.tree` flattens them.

    Args:
        value: One value for all outputs, or a dict or list of the outputs' structure.
        template: The structure of the outputs.
        argument: Name of the argument.

    Raises:
        ValueError: If the structures differ.
    """
    if isinstance(template, dict):
        if isinstance(value, (list, tuple)):
            raise ValueError(
                f"Argument `{argument}` must be one value, or a dict with one entry for each output of "
                f"{sorted(template)}. Received: a list of {len(value)}"
            )
        if not isinstance(value, dict):
            value = dict.fromkeys(template, value)
        if set(value) != set(template):
            raise ValueError(
                f"Argument `{argument}` must have one entry for each output of {sorted(template)}. "
                f"Received: {sorted(map(str, value))}"
            )
        return [part for key in _keys(template) for part in spread(value[key], template[key], argument)]
    if isinstance(template, (list, tuple)):
        if not isinstance(value, (list, tuple)):
            value = [value] * len(template)
        if len(value) != len(template):
            raise ValueError(
                f"Argument `{argument}` must have one entry for each of the {len(template)} outputs. "
                f"Received: {len(value)}"
            )
        return [part for v, t in zip(value, template, strict=True) for part in spread(v, t, argument)]
    if isinstance(value, (dict, list, tuple)):
        raise ValueError(f"Argument `{argument}` must be one value for a student with one output. Received: {value!r}")
    return [value]


def in_places(value, template, names: list[str], argument: str, partly: bool = False):
    """Returns a dict by the names of outputs, where they are a list or one output, as `keras.Model` understands it.

    Args:
        value: What an argument says; what is no dict is returned as it is.
        template: The structure of the outputs: a list, or one output.
        names: The names of all outputs; that of one output is empty if the student does not tell it.
        argument: Name of the argument.
        partly: Whether some may be left out; they are None.

    Raises:
        ValueError: If there is no output of a name, or one has no entry.
    """
    is_list = isinstance(template, (list, tuple))
    if not isinstance(value, dict) or isinstance(template, dict) or (is_list and len(template) != len(names)):
        return value
    if set(value) - set(filter(None, names)) or not (partly or set(value) == set(names)):
        allowed = f"one entry for each output of {names}" if any(names) else "one value for a student with one output"
        raise ValueError(f"Argument `{argument}` must have {allowed}. Received: {sorted(map(str, value))}")
    values = [value.get(name) for name in names]
    return values if is_list else values[0]


def spread_metrics(given, template, argument: str) -> list[list]:
    """Returns the metrics of each output, as `keras.Model.compile` understands them.

    Args:
        given: A metric or a list of them for all outputs; a dict by the outputs' names, of which some may be left out;
            or a list with an entry for each output. For one output it may hold lists.
        template: The structure of the outputs.
        argument: Name of the argument.

    Raises:
        ValueError: If there is no output of a name, or a list or dict in place of a metric.
    """
    if not isinstance(template, (dict, list, tuple)):
        return [[] if given is None else keras.tree.flatten(given)]
    return _spread_metrics(given, template, argument)


def _spread_metrics(given, template, argument):
    if isinstance(template, dict):
        if isinstance(given, dict) and set(given) - set(template):
            unknown = sorted(set(given) - set(template))
            raise ValueError(f"Argument `{argument}` must name outputs of {sorted(template)}. Received: {unknown}")
        parts = [(given.get(key) if isinstance(given, dict) else given, template[key]) for key in _keys(template)]
    elif isinstance(template, (list, tuple)):
        each = isinstance(given, (list, tuple)) and len(given) == len(template)
        parts = list(zip(given if each else [given] * len(template), template, strict=True))
    else:
        metrics = [] if given is None else list(given) if isinstance(given, (list, tuple)) else [given]
        # Keras gives a list of lists to the outputs of a dict in an order, which nobody reads off it.
        if nested := [metric for metric in metrics if isinstance(metric, (dict, list, tuple))]:
            raise ValueError(f"Argument `{argument}` must hold a metric or a list of them for each output, or be a "
                             f"dict by the outputs' names. Received: {nested[0]!r} in place of a metric")  # fmt: skip
        return [metrics]
    return [metrics for part, of_output in parts for metrics in _spread_metrics(part, of_output, argument)]


class Structure:
    """The structure of what a student returns: where its outputs are, and ranks and last axes of those with a task.

    Args:
        spec: The outputs that it was wrapped with, symbolic tensors.
        trained: Places of the flattened outputs that have a task; others may have any shape.
    """

    def __init__(self, spec, trained: set[int]):
        self._parts = [(path, shape if place in trained else None) for place, (path, shape) in enumerate(_parts(spec))]

    def flat(self, outputs, when: str) -> list:
        """Returns flattened outputs, in the order that arguments and labels are flattened in.

        Args:
            outputs: What a network returned; looked at while a step is traced.
            when: In which mode, as a sentence says it.

        Raises:
            ValueError: If these are not the outputs that the student was wrapped with.
        """
        found = _parts(outputs)
        if len(found) != len(self._parts) or not all(map(_fits, found, self._parts)):
            raise ValueError(
                "The student must return the same outputs in training and in inference: give those of training alone "
                "in both modes, and each a `task` of its own (None for one that is not trained). Received: "
                f"{_shown(found)} in {when}, {_shown(self._parts)} when it was wrapped"
            )
        return keras.tree.flatten(outputs)


def _parts(outputs):
    """Pairs of the path of each output and its shape, of which what nobody knows is None."""
    shapes = [(path, getattr(part, "shape", None)) for path, part in keras.tree.flatten_with_path(outputs)]
    if len(shapes) == 1:  # A functional model of `[output]` returns it without the list.
        shapes = [((), shapes[0][1])]
    return [(path, tuple(s) if getattr(s, "rank", s) is not None else None) for path, s in shapes]


def _fits(found, expected):
    (path, shape), (expected_path, expected_shape) = found, expected
    if path != expected_path or None in (shape, expected_shape):
        return path == expected_path
    last = {size for size in (*shape[-1:], *expected_shape[-1:]) if size is not None}
    return len(shape) == len(expected_shape) and len(last) <= 1


def _shown(parts):
    named = [("".join(f"[{key!r}]" for key in path), shape) for path, shape in parts]
    return ", ".join(f"outputs{path} of shape {shape}" for path, shape in named) or "none"


def names_of(template, student: keras.Model | None = None) -> list[str]:
    """Returns the names of outputs, as Keras has them: keys of a dict, else the names of the layers, if they tell."""
    if isinstance(template, dict):
        return ["_".join(filter(None, (key, name))) for key in _keys(template) for name in names_of(template[key])]
    if isinstance(template, (list, tuple)):
        given = list(getattr(student, "output_names", None) or [])
        flat = [name for part in template for name in (names_of(part) or [""])]
        if len(given) == len(flat) == len(set(given)):
            return given
        return [f"output_{i}" for i in range(len(flat))]
    return list(getattr(student, "output_names", None) or [""])[:1]


def _keys(template):
    """The keys of a dict of outputs, in the order in which `keras.tree` flattens it: not of each kind is it sorted."""
    named = copy.copy(template)
    for key in template:
        named[key] = key
    return keras.tree.flatten(named)


def map_tensors(function: Callable, x):
    """Returns a function of each tensor of what a network takes; None, which an optional input is given, stays."""
    return keras.tree.map_structure(lambda part: None if part is None else function(part), x)


def first_tensor(x):
    """Returns the first tensor of what a network takes, which tells the number of examples."""
    return next(part for part in keras.tree.flatten(x) if part is not None)


def as_rank(weights, values):
    """Returns weights of examples or positions with axes of 1 for what `values` have more, from the right."""
    while len(weights.shape) < len(values.shape):
        weights = ops.expand_dims(weights, -1)
    while len(weights.shape) > len(values.shape) and weights.shape[-1] == 1:
        weights = ops.squeeze(weights, -1)
    return weights


def keras_mask(outputs):
    """Returns the mask that layers have attached to outputs (`Embedding(mask_zero=True)`), or None."""
    return getattr(outputs, "_keras_mask", None)  # Keras has no public way to read it; it is pinned.
