"""Names of classes: they become lines of files, columns and headings, and are checked where they are read."""

import os

from keras_mt.errors import ArgumentError
from keras_mt.experiments.reading import in_words


def class_name(name: str, argument: str, value: object) -> str:
    """Returns the name of a class, in Unicode whatever the locale.

    Args:
        name: As it was read, for example the name of a folder.
        argument: Name of the argument that it came with.
        value: Of the argument.

    Raises:
        ArgumentError: If it holds control characters, line breaks say, or is no UTF-8.
    """
    try:
        text = os.fsencode(name).decode("utf-8")
    except UnicodeError:
        text = ""
    if not text.isprintable() or not text.strip():
        raise ArgumentError(argument, value, f"has a class named {in_words(name)}; printable text in UTF-8 is needed")
    return text
