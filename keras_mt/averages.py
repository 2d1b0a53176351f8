"""What updates a teacher: the average of the student's weights, and a rule for running statistics."""

import keras
import tensorflow as tf

from keras_mt.teacher import layers_of, owners_of, pairs_of_states, recurrent_states
from keras_mt.views import noise_variables, set_noise

TEACHER_STATISTICS = ("auto", "own", "ema", "copy")


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
    shares = {}
    for student_weight, teacher_weight in pairs:
        average = exact.get(id(teacher_weight))
        if average is None and copies:
            teacher_weight.assign(_averaged(teacher_weight.value, student_weight.value, decay, copies))
            continue
        if average is None:
            difference = student_weight.value - teacher_weight.value
            if difference.dtype not in shares:
                shares[difference.dtype] = _share(decay, difference.dtype)
            teacher_weight.assign_add(shares[difference.dtype] * difference)
            continue
        # Where the weight is not the average rounded, somebody has given it another value.
        untouched = tf.equal(tf.cast(average.value, teacher_weight.dtype), teacher_weight.value)
        value = tf.where(untouched, average.value, tf.cast(teacher_weight.value, "float32"))
        average.assign(_averaged(value, tf.cast(student_weight.value, "float32"), decay, copies))
        teacher_weight.assign(tf.cast(average.value, teacher_weight.dtype))


def _averaged(old, new, decay, copies):
    average = old + _share(decay, old.dtype) * (new - old)
    return tf.where(tf.equal(decay, 0.0), new, average) if copies else average


def _share(decay, dtype):
    """`1 - α` in a dtype."""
    return tf.cast(1.0 - tf.cast(decay, "float64" if dtype == tf.float64 else "float32"), dtype)


def _statistics(network):
    """Weights that passes may move: running means and variances, counters, flags.

    Not what an optimizer trains, or would if a flag had not frozen it, and nothing of a frozen layer.
    """
    owners = owners_of(network)
    made_for_training = {id(w) for layer in owners.values() for w in layer._trainable_variables}
    return [
        w for w in network.weights if not w.trainable and id(w) not in made_for_training and owners[id(w)].trainable
    ]


def _is_float(weight):
    return weight.dtype.startswith(("float", "bfloat"))


def snapshot_statistics(network: keras.Model) -> list[tuple]:
    """Returns pairs `(variable, value)` of what a pass of a network may move, as it is before.

    Statistics, the states of recurrent layers, and what `snapshot_overwritten` returns. Seeds of noise are not among
    them: each pass sets them.
    """
    moved = [(w, tf.identity(w.value)) for w in (*_statistics(network), *recurrent_states(network))]
    return moved + snapshot_overwritten(network)


def snapshot_overwritten(network: keras.Model, only_frozen: bool = False) -> list[tuple]:
    """Returns pairs `(variable, value)` of weights that a pass in training mode overwrites.

    `SpectralNormalization` puts the normalized kernel in the place of the kernel, whether it is frozen or not. That is
    a part of the student's step; a teacher is moved by nothing but the average.

    Args:
        network: The network.
        only_frozen: Whether only those that are frozen are wanted.
    """
    layers = [layer for layer in layers_of(network) if isinstance(layer, keras.layers.SpectralNormalization)]
    weights = [layer.kernel for layer in layers if not (only_frozen and layer.kernel.trainable)]
    weights += [layer.vector_u for layer in layers if not layer.trainable]
    return [(w, tf.identity(w.value)) for w in weights]


def restore_statistics(before: list[tuple]) -> None:
    """Gives a network back what `snapshot_statistics` or `snapshot_overwritten` returned."""
    for variable, old in before:
        variable.assign(old)


def update_statistics(
    rule: str, student: keras.Model, teacher: keras.Model, before, decay, copies=False, frozen=None
) -> None:
    """Applies a rule of `TEACHER_STATISTICS` after a step; `"own"` leaves what the teacher's pass kept.

    What is no floating point number has no average, nor have the states of recurrent layers: they are copied.

    Args:
        rule: The rule.
        student: Whose statistics are averaged or copied.
        teacher: Whose statistics are updated.
        before: What `snapshot_statistics` returned of the teacher before its pass.
        decay: α, a scalar.
        copies: As `update_ema` has it.
        frozen: Boolean scalar: whether nothing moves the teacher in this step; None for no.
    """
    if rule == "own" and not copies and frozen is None:
        return
    before = {id(variable): old for variable, old in before}
    kept = {id(w) for w in _statistics(teacher)}
    for student_weight, teacher_weight in zip(student.weights, teacher.weights, strict=True):
        if id(teacher_weight) not in kept:
            continue
        old = before.get(id(teacher_weight))
        new = _updated(rule, student_weight, teacher_weight, old, decay, copies)
        teacher_weight.assign(new if frozen is None else tf.where(frozen, old, new))
    if rule != "own" and frozen is None:
        for student_state, teacher_state in pairs_of_states(student, teacher):
            teacher_state.assign(student_state.value)


def _updated(rule, student_weight, teacher_weight, old, decay, copies):
    new = student_weight.value
    if rule == "own":
        return tf.where(tf.equal(decay, 0.0), new, teacher_weight.value) if copies else teacher_weight.value
    if rule == "ema" and _is_float(teacher_weight):
        return _averaged(old, new, decay, copies)
    return new


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
            before = snapshot_overwritten(network)
            network(batch, training=True)
            restore_statistics(before)
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
    weights = [w for network in networks for w in _statistics(network) if _is_float(w)]
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
