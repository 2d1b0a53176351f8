"""The teacher: a network like the student that no optimizer touches, and the averages that move it."""

import tempfile
import zlib

import keras
import numpy as np
import tensorflow as tf

from keras_mt.views import noise_variables, set_noise

TEACHER_STATISTICS = ("auto", "own", "ema", "copy")
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
    compiled = [network for network in (student, *layers_of(student)) if getattr(network, "compiled", False)]
    try:
        for network in compiled:  # A clone is not trained: what it was compiled with need not be made anew.
            network.compiled = False
        # A clone's layers restart at the seeds of the original's; `keras_mt.views` sets them anew in each pass.
        if any(isinstance(layer, keras.layers.Lambda) for layer in student.layers):
            teacher = keras.models.clone_model(student, clone_function=_clone_layer)
        else:
            teacher = keras.models.clone_model(student)
        if not teacher.built:
            teacher.build_from_config(student.get_build_config())
    except Exception as error:
        raise ValueError(f"The student {student.name!r} can't be cloned ({_first_line(error)}). {otherwise}") from error
    finally:
        for network in compiled:
            network.compiled = True
    ours, theirs = shapes_of(teacher), shapes_of(student)
    if ours != theirs:
        raise ValueError(
            f"The student {student.name!r} can't be cloned: it has weights of shapes {theirs}, and what Keras makes of "
            f"its config has {ours}, as where a layer is held by another one. {otherwise}"
        )
    return teacher


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


def copy_network(student: keras.Model, teacher: keras.Model) -> None:
    """Gives the teacher all that makes the student answer as it does.

    Weights, statistics, and what layers keep outside of weights and Keras' own saving restores: tensors that an adapted
    `Normalization` computes with, tables of lookup layers (keras issue 20147).
    """
    for student_weight, teacher_weight in zip(student.weights, teacher.weights, strict=True):
        teacher_weight.assign(student_weight)
    follow_trainable(student, teacher)
    for theirs, ours in _pairs_of_layers(student, teacher):
        if type(theirs).load_own_variables is not keras.Layer.load_own_variables:
            store = {}
            theirs.save_own_variables(store)
            ours.load_own_variables(store)
        if hasattr(type(theirs), "load_assets") and type(theirs).load_assets is not getattr(
            keras.Layer, "load_assets", None
        ):
            if hasattr(theirs, "get_vocabulary") and not theirs.get_vocabulary(include_special_tokens=False):
                continue  # It is adapted later, or its file is being loaded; Keras fails on an empty table.
            with tempfile.TemporaryDirectory() as folder:
                theirs.save_assets(folder)
                ours.load_assets(folder)


def follow_trainable(student: keras.Model, teacher: keras.Model) -> None:
    """Gives the teacher's layers the `trainable` flags of the student's: what is frozen moves in neither network."""
    for theirs, ours in _pairs_of_layers(student, teacher):
        if ours.trainable != theirs.trainable:
            ours.trainable = theirs.trainable


def _pairs_of_layers(student, teacher):
    """Pairs of the layers of both networks, where they are built alike; a `teacher=` may have others."""
    theirs, ours = layers_of(student), layers_of(teacher)
    if [type(layer) for layer in theirs] == [type(layer) for layer in ours]:
        return list(zip(theirs, ours, strict=True))
    return []


def fingerprint(network: keras.Model) -> int:
    """Returns a checksum of a network's weights, which tells whether somebody has changed them."""
    content = 0
    for weight in network.weights:
        content = zlib.crc32(np.ascontiguousarray(tf.identity(weight.value).numpy()).view("uint8"), content)
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
    first, again = _answers(student, x), _answers(student, x)
    answer = first[0], [_layer_of(output, first[1]) for output in first[0]]
    if any(not _alike(a, b) for a, b in zip(first[0], again[0], strict=True)):
        return answer  # The student draws at random in inference mode too: nothing can be compared.
    second = _answers(teacher, x, student.weights)
    if len(first[0]) == len(second[0]) and all(_alike(a, b) for a, b in zip(first[0], second[0], strict=True)):
        return answer
    name = _first_difference(first[1], second[1])
    raise ValueError(
        f"The teacher answers otherwise than the student although it has the student's weights: first in the layer "
        f"{name!r}, which computes with something that Keras does not copy. {_SECOND_NETWORK}"
    )


def _answers(network, x, weights=None):
    """The outputs of a network, and its innermost layers with theirs, in the order of computation.

    All that a pass moves is put back: states of recurrent layers, counters, vectors of a power iteration.

    Args:
        network: The network.
        x: What it takes.
        weights: Weights that it has for this pass; None for its own.
    """
    recorded = []
    # Private, and Keras is pinned: whether a layer has others inside, which a `Layer` tells nowhere else.
    innermost = [layer for layer in layers_of(network) if not layer._layers]
    owns = [vars(layer).get("call") for layer in innermost]
    # Keras lists the states of recurrent layers in no `variables`.
    states = keras.tree.flatten([getattr(layer, "states", None) for layer in layers_of(network)])
    moved = [*network.variables, *(state for state in states if isinstance(state, keras.Variable))]
    kept = [(variable, tf.identity(variable.value)) for variable in moved]
    for layer in innermost:
        object.__setattr__(layer, "call", _recording(layer, layer.call, recorded))
    try:
        if weights is not None:
            for weight, value in zip(network.weights, weights, strict=True):
                weight.assign(value)
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


# Averages ----------------------------------------------------------------------------------------------------------


def averaged_pairs(student: keras.Model, teacher: keras.Model):
    """Pairs `(student's, teacher's)` of the weights that are trained."""
    return [(s, t) for s, t in zip(student.weights, teacher.weights, strict=True) if s.trainable]


def needs_exact_average(weight: keras.Variable) -> bool:
    """Whether `1 - α` of a difference can vanish in the dtype of a weight."""
    return weight.dtype in ("float16", "bfloat16")


def update_ema(pairs, exact, decay, copies: bool = False) -> None:
    """`θ' ← α θ' + (1 - α) θ` for each pair `(θ, θ')`, in the form that leaves equal weights as they are.

    Args:
        pairs: What `averaged_pairs` returned.
        exact: By the id of a teacher's weight of low precision, the float32 variable that holds its average.
        decay: α, a scalar.
        copies: Whether an α of 0 copies to the last bit; the formula alone rounds.
    """
    for student_weight, teacher_weight in pairs:
        average = exact.get(id(teacher_weight))
        if average is None and copies:
            teacher_weight.assign(_averaged(teacher_weight.value, student_weight.value, decay, copies))
            continue
        if average is None:
            difference = student_weight.value - teacher_weight.value
            teacher_weight.assign_add(
                tf.cast(1.0 - tf.cast(decay, _widest(difference.dtype)), difference.dtype) * difference
            )
            continue
        # Where the weight is not the average rounded, somebody has given it another value.
        untouched = tf.equal(tf.cast(average.value, teacher_weight.dtype), teacher_weight.value)
        value = tf.where(untouched, average.value, tf.cast(teacher_weight.value, "float32"))
        average.assign(_averaged(value, tf.cast(student_weight.value, "float32"), decay, copies))
        teacher_weight.assign(tf.cast(average.value, teacher_weight.dtype))


def _averaged(old, new, decay, copies):
    average = old + tf.cast(1.0 - tf.cast(decay, _widest(old.dtype)), old.dtype) * (new - old)
    return tf.where(tf.equal(decay, 0.0), new, average) if copies else average


def _widest(dtype):
    return "float64" if dtype == tf.float64 else "float32"


def _statistics(network):
    """Running means and variances: what no optimizer trains, except in frozen layers, where nothing moves."""
    frozen = {id(w) for layer in layers_of(network) if not layer.trainable for w in layer.weights}
    return [
        w
        for w in network.weights
        if not w.trainable and id(w) not in frozen and w.dtype.startswith(("float", "bfloat"))
    ]


def snapshot_statistics(network: keras.Model) -> list[tf.Tensor]:
    """Returns a network's statistics as they are before its pass moves them."""
    return [tf.identity(w.value) for w in _statistics(network)]


def restore_statistics(network: keras.Model, before: list[tf.Tensor]) -> None:
    """Gives a network back the statistics that `snapshot_statistics` returned."""
    for weight, old in zip(_statistics(network), before, strict=True):
        weight.assign(old)


def update_statistics(rule: str, student: keras.Model, teacher: keras.Model, before, decay, copies=False) -> None:
    """Applies a rule of `TEACHER_STATISTICS` after a step; `"own"` leaves what the teacher's pass kept.

    `copies` is as `update_ema` has it.
    """
    if rule == "own" and not copies:
        return
    for student_weight, teacher_weight, old in zip(_statistics(student), _statistics(teacher), before, strict=True):
        new = student_weight.value
        if rule == "own":
            new = tf.where(tf.equal(decay, 0.0), new, teacher_weight.value)
        if rule == "ema":
            new = _averaged(old, new, decay, copies)
        teacher_weight.assign(new)


def recompute_statistics(network: keras.Model, batches, seed: int) -> None:
    """Makes running statistics anew: the mean of those of all batches, each with the same weight.

    Args:
        network: The network.
        batches: An iterable of what it takes.
        seed: Seed of the noise of its layers.

    Raises:
        ValueError: If there are none.
    """
    layers = [layer for layer in layers_of(network) if layer.trainable and hasattr(layer, "momentum")]
    momenta, count = [layer.momentum for layer in layers], 0
    try:
        for batch in batches:
            for layer in layers:  # The mean of the first so many.
                layer.momentum = count / (count + 1)
            set_noise(noise_variables(network), seed, tf.constant(count, "int64"), 0)
            network(batch, training=True)
            count += 1
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    if not count:
        raise ValueError("Statistics need at least one batch. Received: none")


def synchronize_statistics(networks) -> None:
    """Gives the statistics of networks the mean over all replicas, where their layers keep their own.

    Assignments inside a replica stay there, so that replicas would drift apart, and saving and export see the first
    one only. Taken are means over replicas of running means and variances; nothing happens on one replica.
    """
    replica = tf.distribute.get_replica_context()
    weights = [w for network in networks for w in _statistics(network)]
    if replica.num_replicas_in_sync == 1 or not weights:
        return
    # Identities, since what is read of a variable has no device, which several workers ask for.
    means = replica.all_reduce(tf.distribute.ReduceOp.MEAN, [tf.identity(w.value) for w in weights])
    for weight, mean in zip(weights, means, strict=True):
        weight.assign(mean)


def distance(pairs) -> float:
    """Euclidean distance between the weights of all pairs."""
    squares = [tf.reduce_sum(tf.square(tf.cast(s.value - t.value, "float32"))) for s, t in pairs]
    return float(tf.sqrt(tf.add_n(squares))) if squares else 0.0


def computes_in_float16(network: keras.Model) -> bool:
    """Whether a layer of the network computes in float16, whose small gradients need loss scaling."""
    return any(layer.compute_dtype == "float16" for layer in [network, *layers_of(network)])
