"""The teacher: a twin of the student that no optimizer touches, and the averages that move it."""

import keras
import tensorflow as tf

TEACHER_STATISTICS = ("own", "ema", "copy")


def heads(outputs):
    """Returns `(classification head, consistency head)` of a network with one head or two."""
    outputs = tf.nest.flatten(outputs)
    return outputs[0], outputs[-1]


def check_student(student: keras.Model, from_logits: bool, two_heads: bool) -> None:
    """Raises a `ValueError` if the student can't be trained as it was asked for."""
    if not student.built:
        raise ValueError(
            f"The student {student.name!r} must be built before it is wrapped. Give it an `Input`, or call it once "
            "on a batch."
        )
    last = student.layers[-1] if student.layers else student
    softmax = getattr(last, "activation", None) is keras.activations.softmax or isinstance(last, keras.layers.Softmax)
    if from_logits and softmax:
        raise ValueError(
            f"The student {student.name!r} ends in a softmax, so `from_logits` must be False. "
            f"Received: from_logits={from_logits}"
        )
    outputs = len(tf.nest.flatten(getattr(student, "outputs", None) or [None]))
    if two_heads and outputs == 1:
        raise ValueError(
            f"A logit distance needs a student with two heads. Received: {student.name!r}, which has one output"
        )


def shape_of_outputs(student: keras.Model) -> tuple[int | None, ...]:
    """Returns the shape of a student's outputs; of a subclassed one, what its inputs' shape leads to."""
    outputs = getattr(student, "outputs", None)
    if outputs:
        return tuple(heads(outputs)[0].shape)
    try:
        return tuple(heads(student.compute_output_spec(_spec_of_inputs(student)))[0].shape)
    except Exception:  # Whatever the network's own code raises on a symbolic input.
        return (None, None)


def _spec_of_inputs(student):
    shape = student.get_build_config()["input_shape"]
    return keras.KerasTensor((None, *shape[1:]), "float32")


def make_twin(student: keras.Model) -> keras.Model:
    """Returns a network like a built student; its weights are still its own.

    Raises:
        ValueError: If Keras cannot rebuild the model from its config.
    """
    try:
        # A clone's layers restart at the seeds of the original's; `keras_mt.views` sets them anew in each pass.
        teacher = keras.models.clone_model(student)
        if not teacher.built:
            teacher.build_from_config(student.get_build_config())
    except Exception as error:
        raise ValueError(
            f"The student {student.name!r} can't be cloned ({error}). Build a second network and pass it as `teacher=`."
        ) from error
    return teacher


def check_twins(student: keras.Model, teacher: keras.Model) -> None:
    """Raises a `ValueError` unless each weight of the student has its counterpart in the teacher."""
    student_shapes, teacher_shapes = ([tuple(w.shape) for w in network.weights] for network in (student, teacher))
    if student_shapes != teacher_shapes:
        raise ValueError(
            f"Argument `teacher` must have the student's weights in the student's order: {student_shapes}. "
            f"Received: weights of shapes {teacher_shapes}"
        )
    if {id(w) for w in student.weights} & {id(w) for w in teacher.weights}:
        raise ValueError("Arguments `student` and `teacher` must not share weights. Received: two that do")


def copy_weights(student: keras.Model, teacher: keras.Model) -> None:
    """Gives the teacher the student's weights and statistics."""
    for student_weight, teacher_weight in zip(student.weights, teacher.weights, strict=True):
        teacher_weight.assign(student_weight)


def averaged_pairs(student: keras.Model, teacher: keras.Model):
    """Pairs `(student's, teacher's)` of the weights that are trained."""
    return [(s, t) for s, t in zip(student.weights, teacher.weights, strict=True) if s.trainable]


def move_average(pairs, decay) -> None:
    """`θ' ← α θ' + (1 - α) θ` for each pair `(θ, θ')`, in the form that leaves equal weights as they are."""
    for student_weight, teacher_weight in pairs:
        difference = student_weight.value - teacher_weight.value
        teacher_weight.assign_add(tf.cast(1.0 - decay, difference.dtype) * difference)


def _statistics(network):
    """Running means and variances: what no optimizer trains, except in frozen layers, where nothing moves."""
    frozen = {id(w) for layer in _layers_of(network) if not layer.trainable for w in layer.weights}
    return [
        w
        for w in network.weights
        if not w.trainable and id(w) not in frozen and w.dtype.startswith(("float", "bfloat"))
    ]


def _layers_of(network):
    for layer in getattr(network, "layers", ()):
        yield layer
        yield from _layers_of(layer)


def remember_statistics(network: keras.Model) -> list[tf.Tensor]:
    """Returns a network's statistics as they are before its pass moves them."""
    return [tf.identity(w.value) for w in _statistics(network)]


def restore_statistics(network: keras.Model, before: list[tf.Tensor]) -> None:
    """Gives a network back the statistics that `remember_statistics` returned."""
    for weight, old in zip(_statistics(network), before, strict=True):
        weight.assign(old)


def move_statistics(rule: str, student: keras.Model, teacher: keras.Model, before, decay) -> None:
    """Applies a rule of `TEACHER_STATISTICS` after a step; `"own"` leaves what the teacher's pass kept."""
    if rule == "own":
        return
    for student_weight, teacher_weight, old in zip(_statistics(student), _statistics(teacher), before, strict=True):
        new = student_weight.value
        if rule == "ema":
            new = old + tf.cast(1.0 - decay, old.dtype) * (new - old)
        teacher_weight.assign(new)


def align_statistics(networks) -> None:
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
    layers = [network, *getattr(network, "layers", [])]
    return any(layer.compute_dtype == "float16" for layer in layers)
