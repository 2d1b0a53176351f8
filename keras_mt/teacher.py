"""The teacher: a network like the student that no optimizer touches. Made, copied, and held against the student."""

import contextlib
import tempfile
import zlib

import keras
import numpy as np
import tensorflow as tf

from keras_mt.views import noise_variables, set_noise

TEACHER_WEIGHTS = ("student", "own")
_SECOND_NETWORK = "Build a second network and pass it as `teacher=`."
_TOLERANCE = {"float16": 1e-2, "bfloat16": 5e-2}


# The same network --------------------------------------------------------------------------------------------------


def make_teacher(student: keras.Model, otherwise: str = _SECOND_NETWORK) -> keras.Model:
    """Returns a network like a built student; its weights are still its own.

    Args:
        student: The student.
        otherwise: What is to be done if it can't be cloned.

    Raises:
        ValueError: If Keras cannot rebuild the model from its config.
    """
    try:
        with uncompiled(student):  # A clone is not trained: what it was compiled with need not be made anew.
            # A clone's layers restart at the seeds of the original's; `keras_mt.views` sets them anew in each pass.
            lambdas = any(isinstance(layer, keras.layers.Lambda) for layer in student.layers)
            clone_layer, inputs = _clone_layer if lambdas else None, _optional_inputs(student)
            teacher = keras.models.clone_model(student, input_tensors=inputs, clone_function=clone_layer)
            if not teacher.built:
                teacher.build_from_config(student.get_build_config())
    except Exception as error:
        raise ValueError(f"The student {student.name!r} can't be cloned ({_first_line(error)}). {otherwise}") from error
    ours, theirs = shapes_of(teacher), shapes_of(student)
    if ours != theirs:
        raise ValueError(
            f"The student {student.name!r} can't be cloned: it has weights of shapes {theirs}, and what Keras makes of "
            f"its config has {ours}, as where a layer is held by another one. {otherwise}"
        )
    return teacher


@contextlib.contextmanager
def uncompiled(network: keras.Model):
    """Lets a network, and those inside of it, be written to a config without what they were compiled with."""
    compiled = [part for part in (network, *layers_of(network)) if getattr(part, "compiled", False)]
    for part in compiled:
        part.compiled = False
    try:
        yield
    finally:
        for part in compiled:
            part.compiled = True


def shapes_of(network: keras.Model) -> list[tuple]:
    """Returns the shapes of a network's weights."""
    return [tuple(weight.shape) for weight in network.weights]


def _first_line(error):
    """What Keras says of a config goes on with the whole config."""
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return line if len(line) < 200 else f"{line[:200]} ..."


def _clone_layer(layer):
    """A `Lambda` has no weights, and its function can't be made from a config: both networks have the same one."""
    return layer if isinstance(layer, keras.layers.Lambda) else type(layer).from_config(layer.get_config())


def _optional_inputs(student):
    """New inputs for a clone, where one is optional, which `clone_model` would not keep; else None."""
    layers = [layer for layer in student.layers if isinstance(layer, keras.layers.InputLayer)]
    if not any(layer.optional for layer in layers):
        return None
    new = {layer.name: type(layer).from_config(layer.get_config()).output for layer in layers}
    return keras.tree.map_structure(lambda tensor: new[tensor.name], student.input)


def check_same_weights(student: keras.Model, teacher: keras.Model) -> None:
    """Raises a `ValueError` unless each weight of the student has its counterpart in the teacher."""
    student_shapes, teacher_shapes = shapes_of(student), shapes_of(teacher)
    if student_shapes != teacher_shapes:
        raise ValueError(
            f"Argument `teacher` must have the student's weights in the student's order: {student_shapes}. "
            f"Received: weights of shapes {teacher_shapes}"
        )
    if {id(w) for w in student.weights} & {id(w) for w in teacher.weights}:
        raise ValueError("Arguments `student` and `teacher` must not share weights. Received: two that do")


def layers_of(network: keras.Model) -> list[keras.Layer]:
    """Returns all layers of a network, each before those inside of it."""
    # Private, and Keras is pinned: `layers` of a model, which is public, leaves out those inside of other layers.
    return network._flatten_layers(include_self=False)


def owners_of(network: keras.Model) -> dict[int, keras.Layer]:
    """Returns the layer that holds each weight of a network itself, by the weight's id."""
    owners = {}
    for layer in (network, *layers_of(network)):
        # Private, and Keras is pinned: `weights`, which is public, has those of the layers inside as well.
        for weight in (*layer._trainable_variables, *layer._non_trainable_variables):
            owners.setdefault(id(weight), layer)
    return owners


def recurrent_states(network: keras.Model) -> list[keras.Variable]:
    """Returns the states of stateful recurrent layers, which Keras lists in no `variables`."""
    states = keras.tree.flatten([getattr(layer, "states", None) for layer in layers_of(network)])
    listed = {id(variable) for variable in network.variables}
    found = {id(s): s for s in states if isinstance(s, keras.Variable) and id(s) not in listed}
    return list(found.values())


def pairs_of_states(student: keras.Model, teacher: keras.Model) -> list[tuple]:
    """Pairs `(student's, teacher's)` of the states of recurrent layers; none if a `teacher=` has others."""
    theirs, ours = recurrent_states(student), recurrent_states(teacher)
    if [state.shape for state in theirs] != [state.shape for state in ours]:
        return []
    return list(zip(theirs, ours, strict=True))


def copy_network(student: keras.Model, teacher: keras.Model) -> None:
    """Gives the teacher all that makes the student answer as it does, but for states of recurrent layers.

    Weights, statistics, and what layers keep outside of weights and Keras' own saving restores: tensors that an adapted
    `Normalization` computes with, tables of lookup layers (keras issue 20147).
    """
    for theirs, ours in _pairs_of_layers(student, teacher):
        if _keeps_assets(theirs) and _has_no_vocabulary(theirs):
            continue  # It is adapted later, or its file is being loaded; Keras fails on an empty table.
        store = {}
        if _keeps_own(theirs):
            theirs.save_own_variables(store)
        of_words = "idf_weights" in store and _keeps_assets(theirs)
        if of_words:  # Keras does not load them where they are padded, nor of another number.
            words = theirs.get_vocabulary(include_special_tokens=False)
            first = theirs.vocabulary_size() - len(words)
            ours.set_vocabulary(words, store["idf_weights"][first : first + len(words)])
        if _keeps_own(theirs):
            ours.load_own_variables(store)
        if _keeps_assets(theirs) and not of_words:
            with tempfile.TemporaryDirectory() as folder:
                theirs.save_assets(folder)
                ours.load_assets(folder)
    # After what layers save: of a LoRA adapter that is the kernel with the adapter merged into it.
    for student_weight, teacher_weight in zip(student.weights, teacher.weights, strict=True):
        teacher_weight.assign(student_weight)


def keeps_more_than_weights(network: keras.Model) -> bool:
    """Whether layers keep outside of weights what `copy_network` copies: no `fingerprint` tells that it was changed."""
    return any(_keeps_assets(layer) or (_keeps_own(layer) and not layer.weights) for layer in layers_of(network))


def _keeps_own(layer):
    return type(layer).load_own_variables is not keras.Layer.load_own_variables


def _keeps_assets(layer):
    return hasattr(layer, "load_assets") and type(layer).load_assets is not getattr(keras.Layer, "load_assets", None)


def _has_no_vocabulary(layer):
    return hasattr(layer, "get_vocabulary") and not layer.get_vocabulary(include_special_tokens=False)


def follow_trainable(student: keras.Model, teacher: keras.Model) -> None:
    """Gives the teacher the `trainable` flags of the student's layers and weights.

    What is frozen moves in neither network. A `teacher=` of other layers gets them where its layers hold weights.

    Raises:
        ValueError: If one layer of the teacher holds weights of layers of which some are frozen.
    """
    pairs = _pairs_of_alike(student, teacher)
    if pairs is None:
        held = {}
        for theirs, ours in _pairs_of_owners(student, teacher):
            held.setdefault(id(ours), []).append(theirs)
        # Those outside first: they set the flags of layers inside of them.
        pairs = [(_one_of(held[id(o)], o), o) for o in (teacher, *layers_of(teacher)) if id(o) in held]
    for theirs, ours in pairs:
        if ours.trainable != theirs.trainable:
            ours.trainable = theirs.trainable
    for student_weight, teacher_weight in zip(student.weights, teacher.weights, strict=True):
        teacher_weight.trainable = student_weight.trainable


def _one_of(layers, teachers_layer):
    if len({layer.trainable for layer in layers}) > 1:
        raise ValueError(
            f"Argument `teacher` must freeze what the student freezes, and its layer {teachers_layer.name!r} holds the "
            f"weights of several layers of the student. Received: {', '.join(repr(layer.name) for layer in layers)}, "
            "of which some are frozen; freeze all or none of them, or build the teacher of the student's layers"
        )
    return layers[0]


def _pairs_of_layers(student, teacher):
    """Pairs of the layers of both networks; of a `teacher=` with others, those that hold the same weights."""
    pairs = _pairs_of_alike(student, teacher)
    if pairs is None:
        pairs = [(theirs, ours) for theirs, ours in _pairs_of_owners(student, teacher) if type(theirs) is type(ours)]
    return pairs


def _pairs_of_alike(student, teacher):
    """Pairs of all layers of networks that are built alike, else None."""
    theirs, ours = layers_of(student), layers_of(teacher)
    if [type(layer) for layer in theirs] == [type(layer) for layer in ours]:
        return list(zip(theirs, ours, strict=True))
    return None


def _pairs_of_owners(student, teacher):
    theirs, ours = owners_of(student), owners_of(teacher)
    weights = zip(student.weights, teacher.weights, strict=True)
    pairs = [(theirs[id(s)], ours[id(t)]) for s, t in weights]
    return list({(id(a), id(b)): (a, b) for a, b in pairs}.values())


def fingerprint(network: keras.Model) -> int:
    """Returns a checksum of a network's weights, which tells whether somebody has changed them."""
    content = 0
    for layer in (network, *layers_of(network)):
        values = (*layer._trainable_variables, *layer._non_trainable_variables)  # Private, as in `owners_of`.
        if getattr(layer, "lora_enabled", False):  # Loading merges the adapter into the kernel, as saving does.
            store = {}
            layer.save_own_variables(store)
            values = store.values()
        for value in values:
            array = tf.identity(tf.convert_to_tensor(value)).numpy()
            content = zlib.crc32(np.ascontiguousarray(array).view("uint8"), content)
    return content


def check_same_answers(student: keras.Model, teacher: keras.Model, x) -> tuple[list, list]:
    """Checks that a teacher with the student's weights answers as the student does, in inference mode.

    It catches each kind of clone that is no clone: layers whose state is in no config, a `teacher=` of other layers or
    in another order of weights.

    Args:
        student: The student.
        teacher: The teacher; what it holds is put back afterwards.
        x: A few examples as the networks take them.

    Returns:
        The student's flattened outputs, and the layer that computed each as its own output; None where none did.

    Raises:
        ValueError: Naming the first layer whose outputs differ.
    """
    first, again = answers(student, x), answers(student, x)
    answer = first[0], [_layer_of(output, first[1]) for output in first[0]]
    if any(not _alike(a, b) for a, b in zip(first[0], again[0], strict=True)):
        return answer  # The student draws at random in inference mode too: nothing can be compared.
    second = answers(teacher, x, student)
    if len(first[0]) == len(second[0]) and all(_alike(a, b) for a, b in zip(first[0], second[0], strict=True)):
        return answer
    name = _first_difference(first[1], second[1])
    raise ValueError(
        f"The teacher answers otherwise than the student although it has the student's weights: first in the layer "
        f"{name!r}, which computes with something that Keras does not copy. {_SECOND_NETWORK}"
    )


def answers(network: keras.Model, x, like: keras.Model | None = None) -> tuple[list, list]:
    """Returns the flattened outputs of a network, and its innermost layers with theirs, in the order of computation.

    All that a pass moves is put back: states of recurrent layers, counters, vectors of a power iteration.

    Args:
        network: The network.
        x: What it takes.
        like: The network whose weights and states it has for this pass; None for its own.
    """
    recorded = []
    # Private, and Keras is pinned: whether a layer has others inside, which a `Layer` tells nowhere else.
    innermost = [layer for layer in layers_of(network) if not layer._layers]
    owns = [vars(layer).get("call") for layer in innermost]
    moved = [*network.variables, *recurrent_states(network)]
    kept = [(variable, tf.identity(variable.value)) for variable in moved]
    for layer in innermost:
        object.__setattr__(layer, "call", _recording(layer, layer.call, recorded))
    try:
        if like is not None:
            weights = zip(like.weights, network.weights, strict=True)
            for theirs, ours in (*weights, *pairs_of_states(like, network)):
                ours.assign(theirs)
        set_noise(noise_variables(network), 0, tf.constant(0, "int64"), 0)
        outputs = keras.tree.flatten(network(x, training=False))
    finally:
        for layer, own in zip(innermost, owns, strict=True):
            object.__delattr__(layer, "call")
            if own is not None:
                object.__setattr__(layer, "call", own)
        for variable, value in kept:
            variable.assign(value)
    return outputs, recorded


def _recording(layer, call, recorded):
    def record(*args, **kwargs):
        outputs = call(*args, **kwargs)
        recorded.append((layer, keras.tree.flatten(outputs)))
        return outputs

    return record


def _first_difference(first, second):
    for (layer, ours), (_, theirs) in zip(first, second, strict=False):
        if len(ours) != len(theirs) or not all(_alike(a, b) for a, b in zip(ours, theirs, strict=True)):
            return layer.name
    return first[-1][0].name if first else "output"


def _layer_of(output, recorded):
    return next((layer for layer, outputs in reversed(recorded) if any(part is output for part in outputs)), None)


def _alike(first, second):
    if first is second:
        return True
    if isinstance(first, (tf.SparseTensor, tf.RaggedTensor)):  # What some preprocessing layers return.
        parts = [tf.nest.flatten(values, expand_composites=True) for values in (first, second)]
        return all(_alike(a, b) for a, b in zip(*parts, strict=True))
    first, second = (values.numpy() if hasattr(values, "numpy") else values for values in (first, second))
    if not hasattr(first, "shape") or first.dtype.kind not in "fV" and str(first.dtype) != "bfloat16":
        return bool(np.array_equal(first, second))
    tolerance = _TOLERANCE.get(str(first.dtype), 1e-4)
    first, second = first.astype("float64"), second.astype("float64")
    largest = float(np.abs(first[np.isfinite(first)]).max(initial=1.0))
    return first.shape == second.shape and bool(
        np.allclose(first, second, rtol=tolerance, atol=tolerance * largest, equal_nan=True)
    )
