"""The results that the documents tell of come from the result files of the repository."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from support.programs import run_program

ROOT = Path(__file__).resolve().parents[3]
PAGES = {"test": "results", "short": "results_short", "tuning": "results_tuning", "ablations": "results_ablations"}
TWO_DECIMALS = r"(?<![\d.])\d+\.\d\d(?!\d)"


@pytest.mark.parametrize(
    "folder", ["tuning", *(pytest.param(f, marks=pytest.mark.slow) for f in ("test", "short", "ablations"))]
)
def test_the_documents_regenerate_words_byte_for_byte_and_pictures_in_what_they_draw(tmp_path, folder):
    name, runs = PAGES[folder], f"results/{folder}"
    process = run_program(
        "report", f"--runs={runs}", f"--introduction={runs}/README.md", f"--name={name}", f"--output={tmp_path}"
    )
    assert process.returncode == 0, process.stderr
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".html"}
    others = tuple(page for page in PAGES.values() if len(page) > len(name))
    committed = {path.name for path in (ROOT / "docs").glob(f"{name}*") if path.suffix != ".html"}
    assert set(written) == {file for file in committed if not file.startswith(others)}
    for file, content in written.items():
        if file.endswith(".png"):
            same_picture(tmp_path / file, ROOT / "docs" / file)
        else:
            assert (ROOT / "docs" / file).read_bytes() == content, file


def same_picture(here, there):
    """Another version of matplotlib or of its fonts shades the edges of a line otherwise, and draws no other line."""
    here, there = image.imread(here), image.imread(there)
    assert here.shape == there.shape
    assert (np.abs(here - there).max(axis=-1) > 0.5).mean() < 0.01


@pytest.mark.parametrize("folder", PAGES)
def test_the_words_of_a_page_have_figures_that_were_measured(folder):
    page = (ROOT / "docs" / f"{PAGES[folder]}.md").read_text()
    measured = {
        figure for line in page.splitlines() if line.startswith("|") for figure in re.findall(TWO_DECIMALS, line)
    }
    for path in (ROOT / "results" / folder).glob("**/evaluations.csv"):
        *_, last = csv.DictReader(path.read_text().splitlines())
        quantities = (name for name in last if name.endswith(("_error", "classification_cost")))
        measured |= {f"{float(last[name]):.2f}" for name in quantities if last[name]}
    words = (ROOT / "results" / folder / "README.md").read_text()
    assert set(re.findall(TWO_DECIMALS, words)) <= measured


def _row_of(results, method, data, labels):
    """The figures of a method in the results with so many labels, and the number of runs."""
    column, rows = None, []
    for line in results.splitlines():
        if line.startswith("#"):
            section = line
        cells = [cell.strip(" *") for cell in line.split("|")][1:-1]
        if not cells or data.lower().replace("-", "") not in section.lower().replace("-", ""):
            continue
        if not cells[0]:
            headings, wanted = [cell.replace(",", "") for cell in cells], f"{labels.replace(',', '')} labels"
            column = headings.index(wanted) if wanted in headings else None
        elif column and (cells[0] == method or cells[0].startswith(f"{method}, here: another experiment")):
            rows += [cells[column]] * bool(cells[column])
    return rows


def test_the_readme_claims_what_the_results_say():
    results = "".join((ROOT / "docs" / f"{page}.md").read_text() for page in ("results", "results_short"))
    claim = (ROOT / "README.md").read_text().partition("## What it gains")[2].partition("## ")[0]
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in claim.splitlines() if "| " in line and "±" in line
    ]
    assert len(rows) == 4
    for data, labels, supervised, mean_teacher, runs in rows:
        for method, error in (("Supervised only", supervised), ("Mean Teacher", mean_teacher)):
            assert f"{error} ({runs} runs)" in _row_of(results, method, data, labels), (data, labels, method)


# Rows by the kind of CPU that they are of: another adds in another order, and they do not repeat on it. Rows of earlier
# versions, whose sums ran in another order, are not among them.
ROWS = {
    "avx512f": [
        ("digits", "results/test/results_demo", "supervised"),
        ("digits", "results/test/results_demo", "mean_teacher"),
    ],
}


def _kind_of_cpu():
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text().split() if cpu.exists() else []
    return next((kind for kind in ("avx512f", "avx2") if kind in flags), None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "dataset", "runs", "method"), [(kind, *row) for kind, rows in ROWS.items() for row in rows]
)
def test_a_row_runs_again_from_its_flagfile_to_the_same_error(kind, dataset, runs, method, tmp_path, request):
    if kind != _kind_of_cpu():
        pytest.skip(f"the row is of a CPU whose newest of avx512f and avx2 is {kind}")
    environment = {} if dataset == "digits" else {"TFDS_DATA_DIR": request.getfixturevalue("shared_tfds")}
    folder = next(
        path.parent
        for path in sorted(ROOT.glob(f"{runs}/**/results.json"))
        if json.loads(path.read_text())["method"] == method
    )
    process = run_program("train", f"--flagfile={folder / 'flags.cfg'}", f"--run_dir={tmp_path}", **environment)
    assert process.returncode == 0, process.stderr
    there, here = (json.loads((path / "results.json").read_text()) for path in (folder, tmp_path))
    assert (here["student"], here["teacher"]) == (there["student"], there["teacher"])
    assert (tmp_path / "evaluations.csv").read_bytes() == (folder / "evaluations.csv").read_bytes()
