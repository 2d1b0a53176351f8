"""What the documents show runs as it stands: code blocks, the notebook, the pages themselves."""

import os
import re
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient
from support.programs import ROOT

PAGES = sorted(path.relative_to(ROOT) for path in (ROOT / "docs").glob("*.md"))
WITH_CODE = [page for page in PAGES if "```python" in (ROOT / page).read_text()]


def code_of(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("page", WITH_CODE, ids=str)
def test_the_code_of_a_page_runs_from_its_top_to_its_end(page, tmp_path):
    (tmp_path / "page.py").write_text("\n".join(code_of(page)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, str(tmp_path / "page.py")]
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-2000:]


@pytest.mark.parametrize("module", ["keras_mt.mean_teacher", "keras_mt.data.two_stream"])
def test_the_examples_of_docstrings_run(module, tmp_path):
    path = ROOT / f"{module.replace('.', '/')}.py"
    (block,) = re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)
    code = "\n".join(line.removeprefix("    ") for line in block.splitlines())
    scope = {}
    if module == "keras_mt.mean_teacher":
        import keras
        import numpy as np

        import keras_mt

        student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        x, labels = np.ones((6, 4), "float32"), np.array([0, 1, 2, -1, -1, -1])
        scope = {"keras_mt": keras_mt, "student": student, "x": x, "labels": labels}
    exec(compile(code, module, "exec"), scope)


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


def test_the_pages_are_built_without_a_warning_and_the_api_has_docstrings(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    page = (tmp_path / "site" / "api" / "index.html").read_text()
    for words in ("MeanTeacherCallback", "consistency_start_step", "two_stream", "softmax(student)"):
        assert words in page
