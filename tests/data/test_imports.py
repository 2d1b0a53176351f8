"""The data layer stands on its own: NumPy, TensorFlow, and of the library what needs neither files nor networks."""

import ast

import pytest
from support.programs import ROOT

FILES = sorted((ROOT / "keras_mt" / "data").glob("*.py"))
ALLOWED = ("numpy", "tensorflow", "keras_mt.data", "keras_mt.errors", "keras_mt.losses.classification")


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_module_imports_no_laboratory_and_names_no_flag(path):
    text = path.read_text()
    others = {
        name
        for name in imported(ast.parse(text))
        if name.split(".")[0] not in ("collections", "ctypes", "dataclasses", "math", "numbers")
        and not name.startswith(ALLOWED)
    }
    assert not others
    assert "--" not in text
