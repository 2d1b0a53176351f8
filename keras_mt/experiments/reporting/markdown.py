"""Text from outside in Markdown: it stays text."""

import re
import urllib.parse

# Within a word an underscore is one.
_ACTIVE = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])")

_ENTITY = re.compile(r"&(?=#?\w+;)")


def escaped(text: str) -> str:
    """Returns text as Markdown that shows it: no HTML, emphasis, links, cells or lines of its own."""
    text = _ACTIVE.sub(lambda found: f"\\{found[0]}", " ".join(text.split()))
    return _ENTITY.sub("&amp;", text).replace("<", "&lt;").replace(">", "&gt;")


def picture(text: str, file: str) -> str:
    """Returns Markdown that shows a picture beside its page, whatever the file's name."""
    target = re.sub(r"[^\w.~-]", lambda found: urllib.parse.quote(found[0], safe="", errors="surrogateescape"), file)
    return f"![{escaped(text)}]({target})"


def fenced(text: str) -> str:
    """Returns lines as a block of code, whatever is in them."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
