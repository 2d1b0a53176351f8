"""Docstrings of Keras' style on the site: `Call arguments`, which Google's style does not have, are a list."""

import re

import griffe

_SECTION = re.compile(r"^Call arguments:\n((?:(?: {4}.*)?\n?)+)", re.MULTILINE)


def with_lists(docstring: str) -> str:
    """Returns a docstring whose section `Call arguments` is a Markdown list under a title of its own."""

    def as_list(section):
        entries = re.sub(r"^ {4}(\w+): ", r"- **`\1`** – ", section[1], flags=re.MULTILINE)
        return f"**Call arguments:**\n\n{re.sub(r'^ {8}', '  ', entries, flags=re.MULTILINE)}"

    return _SECTION.sub(as_list, docstring)


class CallArguments(griffe.Extension):
    """Applies `with_lists` to each docstring."""

    def on_object(self, *, obj, **_) -> None:
        if obj.docstring is not None:
            obj.docstring.value = with_lists(obj.docstring.value)
