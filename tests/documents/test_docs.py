"""What the documents show runs as it stands: code blocks, the notebook, the pages themselves."""

import importlib
import inspect
import os
import re
import subprocess
import sys

import keras
import nbformat
import numpy as np
import pytest
import tensorflow as tf
from nbclient import NotebookClient
from support.programs import ROOT

import keras_mt

PAGES = sorted(path.relative_to(ROOT) for path in (ROOT / "docs").glob("*.md"))
# That of the quick start is run by the README's test: it is the same.
WITH_CODE = [
    pytest.param(p, marks=pytest.mark.slow if p.name in ("methods.md", "own_data.md") else (), id=str(p))
    for p in PAGES
    if "```python" in (ROOT / p).read_text() and p.name != "index.md"
]


def code_of(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("page", WITH_CODE)
def test_the_code_of_a_page_runs_from_its_top_to_its_end(page, tmp_path):
    (tmp_path / "page.py").write_text("\n".join(code_of(page)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, str(tmp_path / "page.py")]
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-2000:]


MODULES = ("architectures", "data", "layers", "losses", "optimizers", "schedules")


def public_members(module):
    """Pairs of names and objects: the public classes and functions that this package defines."""
    for name, member in inspect.getmembers(module, lambda m: inspect.isclass(m) or inspect.isfunction(m)):
        if not name.startswith("_") and member.__module__.startswith("keras_mt"):
            yield f"{module.__name__}.{name}", member


def on_api_pages():
    """Pairs of names and objects: what the API pages list."""
    for path in sorted((ROOT / "docs" / "api").glob("*.md")):
        for module, name in re.findall(r"^::: (\S+)\.(\w+)$", path.read_text(), re.MULTILINE):
            yield f"{module}.{name}", getattr(importlib.import_module(module), name)


def documented():
    """Pairs of names and docstrings: of `keras_mt` itself, its public modules, the API pages, and classes' methods."""
    members = dict(public_members(keras_mt))
    for module in MODULES:
        members |= public_members(importlib.import_module(f"keras_mt.{module}"))
    members |= on_api_pages()
    for name, member in members.items():
        yield name, inspect.getdoc(member) or ""
        for method, function in vars(member).items() if inspect.isclass(member) else ():
            if not method.startswith("_") and inspect.isfunction(function):
                yield f"{name}.{method}", inspect.getdoc(function) or ""


DOCUMENTED = dict(documented())
EXAMPLES = [
    pytest.param(block, id=f"{name}-{number}")
    for name, docstring in DOCUMENTED.items()
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", docstring, re.DOTALL))
]


@pytest.mark.parametrize("code", EXAMPLES)
def test_the_example_of_a_docstring_runs(code):
    """Its scope is what a reader has at hand: the usual imports, and a built student with a few rows and labels."""
    scope = {
        "keras": keras,
        "keras_mt": keras_mt,
        "np": np,
        "tf": tf,
        "student": keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]),
        "x": np.ones((6, 4), "float32"),
        "labels": np.array([0, 1, 2, -1, -1, -1]),
    }
    exec(compile(code, "docstring", "exec"), scope)


@pytest.mark.parametrize("module", ["architectures", "data", "layers", "schedules"])
def test_every_public_name_of_a_module_says_what_it_takes_and_shows_it(module):
    for name, _ in public_members(importlib.import_module(f"keras_mt.{module}")):
        docstring = DOCUMENTED[name]
        assert "```python" in docstring, name
        assert re.search(r"^(Args|Input shape):", docstring, re.MULTILINE), name


def test_every_name_on_the_api_pages_shows_an_example():
    names = [name for name, _ in on_api_pages()]
    assert len(names) > 60
    for name in names:
        assert "```python" in DOCUMENTED[name], name


@pytest.mark.slow
def test_the_notebook_runs_from_its_top_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "examples" / "mean_teacher.ipynb", as_version=4)
    nbformat.validate(notebook)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    errors = [float(number) for number in re.findall(r"teacher ([0-9.]+) % error", printed)]
    print(printed)
    assert len(errors) == 2
    assert errors[1] < errors[0]  # Mean Teacher's below supervised training's.


@pytest.fixture(scope="module")
def site(once):
    """The folder of the site as `make docs` builds it."""

    def build(folder):
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
        environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
        process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stderr

    return once("site", build)


def test_the_pages_are_built_without_a_warning_and_the_api_has_docstrings(site):
    page = "".join(path.read_text() for path in (site / "api").glob("*/index.html"))
    for words in ("MeanTeacherCallback", "consistency_start_step", "two_stream", "softmax(student)"):
        assert words in page
    assert "<strong><code>y_true</code></strong>" in page  # Of `Call arguments`.
    returned = (
        page.partition('id="keras_mt.data.two_stream.two_stream"')[2].partition("Returns:")[2].partition("</ul>")[0]
    )
    assert returned.count("<li") == 1  # One thing, though it takes several lines.
    assert "<details" not in page  # What a reference of two lines becomes if the second is indented.
    assert not re.search(r"<code>[^<]*`", page)  # What is returned has no colon: what is before it becomes its type.
    assert "What is stable" in (site / "contributing" / "index.html").read_text()
    assert "Keep a Changelog" in (site / "changes" / "index.html").read_text()


def test_each_public_name_has_an_entry_in_the_api_with_its_signature(site):
    page = "".join(path.read_text() for path in (site / "api").glob("*/index.html"))
    for name in DOCUMENTED:
        owner, _, _ = name.rpartition(".")
        if owner in DOCUMENTED:  # A method: those that users need are listed.
            continue
        last = name.rpartition(".")[2]
        whole = f"{name}.{last}" if f'id="{name}.{last}"' in page else name  # Of a module of the same name.
        rest = page.partition(f'id="{whole}"')[2]
        assert rest, name
        signature = re.sub(r"<[^>]*>", "", rest.partition("</pre>")[0].rpartition("<pre>")[2])
        assert signature.lstrip().startswith(f"{last}("), name
    for method in ("compile", "fit", "evaluate", "export", "reset_teacher"):
        assert f'id="keras_mt.MeanTeacher.{method}"' in page


def test_each_page_is_in_the_navigation():
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").glob("**/*.md")}
    named = set(re.findall(r"^ +- (?:.*: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert named == pages


def test_the_pictures_of_the_documents_are_small_files():
    pictures = sorted((ROOT / "docs").rglob("*.png"))
    assert len(pictures) > 5
    assert [path.name for path in pictures if path.stat().st_size > 200_000] == []
