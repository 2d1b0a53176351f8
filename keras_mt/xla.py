"""What a step that XLA compiles finds wrong: XLA drops assertions without a word."""

import contextlib
import functools

import keras
import tensorflow as tf

from keras_mt import tasks


class Findings:
    """What was found wrong inside of a step that XLA compiles, kept until it has ended, then asserted."""

    def __init__(self):
        self._sentences = []  # Of all steps that were traced; what was found is its number from 1 on.
        self._found = tf.Variable(0, dtype="int64", trainable=False)
        self._value = tf.Variable(float("nan"), trainable=False)

    def add(self, condition, sentence: str, value) -> None:
        """Keeps the first sentence whose condition does not hold. Arguments as `tasks.require` has them."""
        has_value = not isinstance(value, str)
        if (sentence, has_value) not in self._sentences:
            self._sentences.append((sentence, has_value))
        number = tf.constant(1 + self._sentences.index((sentence, has_value)), "int64")
        first = tf.logical_and(tf.equal(self._found, 0), tf.logical_not(condition))
        self._found.assign(tf.where(first, number, self._found))
        if has_value:
            self._value.assign(tf.where(first, tf.cast(value, "float32"), self._value))

    def require_none(self) -> list:
        """Asserts, outside of what XLA compiles, that nothing was found; the next step begins anew.

        Returns:
            The operations that what must not run before them is to depend on.
        """
        found, value = tf.identity(self._found), tf.strings.as_string(self._value, shortest=True)
        operations = []
        with tf.control_dependencies([found, value]):
            reset = self._found.assign(0, read_value=False)
        with tf.control_dependencies([reset]):  # What fails ends the function.
            for number, (sentence, has_value) in enumerate(self._sentences, start=1):
                operations += tasks.require(tf.not_equal(found, number), sentence, value if has_value else "")
        return operations


def checked(training: bool):
    """Decorates a step of a model: where XLA compiles it, it is checked around what is compiled.

    What can be checked before (`check_batch`) is, so that a batch that is refused changes nothing; the rest is found in
    the step itself.

    Args:
        training: Whether it is a step of training.
    """

    def decorated(step):
        @functools.wraps(step)
        def checked_step(model, data):
            if not model.jit_compile or model.findings is None:  # Or what is compiled is the user's own.
                return step(model, data)
            with tasks.kept_in(model.findings):
                model.check_batch(data, training)
            compiled = tf.function(functools.partial(step, model), autograph=False, jit_compile=True)
            with tf.control_dependencies(model.findings.require_none()), tasks.kept_in(model.findings):
                logs = compiled(data)
            model.findings.require_none()
            return logs

        return checked_step

    return decorated


@contextlib.contextmanager
def left_to_steps(model: keras.Model):
    """Lets Keras make a function of steps that are `checked`: these are compiled by themselves, inside of it."""
    compiled, model.jit_compile = model.jit_compile, False
    if compiled and model.findings is None:
        model.findings = Findings()  # Once: a function that was made before holds its variables.
    try:
        yield
    finally:
        model.jit_compile = compiled
