"""The library's own kind of `ValueError`: one that can be told in other words than those of Python."""


class ArgumentError(ValueError):
    """An argument has a value that can't be right.

    As a text it is a sentence of Keras' form: ``Argument `num_labels` must be a multiple of 10. Received:
    num_labels=13``. A program whose users know the argument by another name makes a sentence of its own from the
    attributes.

    Args:
        argument: Name of the argument.
        value: What was received.
        reason: What is wrong, to be read after the argument's name: "must be a multiple of 10". Other arguments are
            named in backticks, with a value where it matters: `` `phase=validation` ``.

    Attributes:
        argument: As above.
        value: As above.
        reason: As above.
    """

    def __init__(self, argument: str, value: object, reason: str):
        super().__init__(argument, value, reason)
        self.argument, self.value, self.reason = argument, value, reason

    def __str__(self):
        after = "" if self.reason.startswith(",") else " "
        return f"Argument `{self.argument}`{after}{self.reason}. Received: {self.argument}={self.value}"
