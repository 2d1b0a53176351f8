"""What may happen to a file, generated from a sound one."""

import copy
import json

WRONG = (None, [], {}, "", "text", -1, 3.5, 10**30, True, "line\nbreak", "\ud800", [None], {"a": {}})


def of_text(text):
    """Yields `(name, bytes)` of damages that any text file can have."""
    content = text.encode()
    yield "empty", b""
    for part in (1, 3, 5, 7, 9):
        yield f"cut off after {part} tenths", content[: len(content) * part // 10]
    yield "cut off before its last character", content.rstrip()[:-1]
    yield "UTF-16", text.encode("utf-16")
    yield "Latin-1", ("\xe4" + text).encode("latin-1")
    yield "zeros", bytes(len(content))
    yield "bytes", bytes(range(256)) * 8
    yield "its lines twice", content + content
    yield "deep lists", b"[" * 100_000
    yield "deep tables", b'{"a":' * 100_000


def of_json(text):
    """Yields `(name, bytes)` of damages of a JSON file: of any text, and each of its fields missing or of any kind."""
    yield from of_text(text)
    content = json.loads(text)
    for wrong in (*WRONG, float("nan")):
        yield f"it is {wrong!r}", json.dumps(wrong).encode()
    for place in _places(content):
        changed, holder = _holder(content, place)
        del holder[place[-1]]
        yield f"{place} is missing", json.dumps(changed).encode()
        for wrong in (*WRONG, float("nan"), float("-inf")):
            changed, holder = _holder(content, place)
            holder[place[-1]] = wrong
            yield f"{place} is {wrong!r}", json.dumps(changed).encode()


def _places(content, place=(), depth=3):
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, value in list(items)[:60]:
        yield (*place, name)
        if depth > 1:
            yield from _places(value, (*place, name), depth - 1)


def _holder(content, place):
    changed = holder = copy.deepcopy(content)
    for name in place[:-1]:
        holder = holder[name]
    return changed, holder
