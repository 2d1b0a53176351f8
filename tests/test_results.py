"""The results that the documents tell of come from the result files of the repository."""

from pathlib import Path

import pytest
from programs import run_program

ROOT = Path(__file__).resolve().parents[1]
PAGES = [("test", "results"), ("tuning", "results_tuning"), ("ablations", "results_ablations")]


@pytest.mark.parametrize(("folder", "name"), PAGES)
def test_the_documents_regenerate_byte_for_byte(folder, name, tmp_path):
    runs = f"results/{folder}"
    process = run_program(
        "report", f"--runs={runs}", f"--introduction={runs}/README.md", f"--name={name}", f"--output={tmp_path}"
    )
    assert process.returncode == 0, process.stderr
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".html"}
    assert f"{name}.md" in written
    for file, content in written.items():
        assert (ROOT / "docs" / file).read_bytes() == content, file


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mean_teacher", "pi", "temporal_ensembling", "supervised"])
def test_a_row_runs_again_from_its_flagfile_to_the_same_error(method, tmp_path):
    import json

    folder = next(
        path.parent
        for path in sorted((ROOT / "results" / "test" / "results_digits").rglob("results.json"))
        if json.loads(path.read_text())["method"] == method
    )
    process = run_program("train", f"--flagfile={folder / 'flags.cfg'}", f"--run_dir={tmp_path}")
    assert process.returncode == 0, process.stderr
    there, here = (json.loads((path / "results.json").read_text()) for path in (folder, tmp_path))
    assert (here["student"], here["teacher"]) == (there["student"], there["teacher"])
