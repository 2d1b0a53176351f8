"""Which runs a report finds, and what it refuses."""

import errno
import json
import os
import shutil

import pytest
from support.finished_runs import read, write_run
from support.programs import run_program

from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.reporting import page
from keras_mt.experiments.reporting.runs import read_runs


def test_a_run_that_is_in_two_folders_is_counted_once_and_that_is_said(tmp_path, monkeypatch):
    first = write_run(tmp_path / "in", "a", 9.0, 5.0)
    shutil.copytree(first, tmp_path / "in" / "b")
    write_run(tmp_path / "in", "c", 9.0, 5.5)  # The same seed on another machine.
    write_run(tmp_path / "in", "d", 9.0, 5.0, seed=1)
    runs = read(tmp_path / "in")
    assert [(run.path.name, [copy.name for copy in run.copies]) for run in runs] == [("a", ["b"]), ("c", []), ("d", [])]
    page.write_report(runs, [], tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "a is counted once; the same run is in" in text
    assert "5.17 ± 0.29 (3 runs)" in text
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "d" / "results.json").unlink()
    runs, unfinished = read_runs([str(first), "in/a", "in/../in/a", "in/d", str(tmp_path / "in" / "d")])
    assert [(run.path, run.copies) for run in runs] == [(first, ())]
    assert unfinished == ["in/d"]


def test_runs_are_found_by_either_file_and_through_links_but_not_in_what_a_killed_process_left(tmp_path):
    root, disk = tmp_path / "runs", tmp_path / "disk"
    for folder, name in ((root, "a"), (root, "only_results"), (disk, "linked")):
        write_run(folder, name, 9.0, 5.0, seed=len(name))
    (root / "only_results" / "flags.cfg").unlink()
    (root / "unfinished").mkdir()
    (root / "link").symlink_to(disk / "linked")
    for place in (root, disk / "linked", disk):
        (disk / "linked" / f"to_{place.name}").symlink_to(place)
    for name in ("a", "unfinished"):
        left = root / name / "flags.cfg.unfinished-k1_x"
        left.mkdir()
        (root / name / "flags.cfg").write_text("")
        (left / "flags.cfg").write_text("")
    finished, unfinished = read_runs([str(root)])
    assert [run.path for run in finished] == [root / name for name in ("a", "link", "only_results")]
    assert unfinished == [str(root / "unfinished")]
    (root / "0").symlink_to(root / "a")  # Another name of what is there without it.
    assert [run.path.name for run in read_runs([str(root)])[0]] == ["a", "link", "only_results"]
    finished, _ = read_runs([str(root / "link")])
    assert [run.path.name for run in finished] == ["link", "a", "only_results"]


def test_a_folder_that_can_not_be_looked_through_is_named(tmp_path, monkeypatch):
    closed = write_run(tmp_path, "a", 9.0, 5.0)
    scandir = os.scandir

    def refused_below(path):
        if str(path) == str(closed):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused_below)
    with pytest.raises(RunError, match=r"a can't be read \(Permission denied\)"):
        read(tmp_path)


@pytest.mark.parametrize("case", ["missing", "empty"])
def test_folders_without_runs_are_named(tmp_path, case):
    folder = tmp_path / "nothing" if case == "missing" else tmp_path
    with pytest.raises(UsageError, match="--runs="):
        read_runs([str(folder)])


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        (("step",), 999, "step is 999, and the last step in .*evaluations.csv is 180000"),
        (("teacher", "error"), 1.0, "teacher.error is 1.0, and its teacher_error in .*evaluations.csv is 5.0"),
        (("flags", "training_steps"), 20, "step is 180000, and flags.training_steps is 20"),
    ],
)
def test_a_result_that_contradicts_its_own_run_is_refused(tmp_path, field, value, words):
    run = write_run(tmp_path, "a", 9.0, 5.0)
    content = json.loads((run / "results.json").read_text())
    *tables_above, name = field
    place = content
    for key in tables_above:
        place = place[key]
    place[name] = value
    (run / "results.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=f"results.json is damaged: {words}; the training command writes it anew"):
        read(tmp_path)


@pytest.mark.slow
def test_damaged_results_and_missing_flags_get_a_sentence(tmp_path):
    write_run(tmp_path, "a", 1.0, 1.0)
    (tmp_path / "a" / "results.json").write_text('{"flags": ')
    for flags, status, culprit in (
        ((f"--runs={tmp_path}",), 1, "results.json is damaged"),
        ((), 2, "--runs is missing"),
        ((f"--runs={tmp_path}", f"--output={tmp_path / 'a' / 'flags.cfg'}"), 2, "--output="),
    ):
        process = run_program("report", *flags)
        assert process.returncode == status
        assert culprit in process.stderr.strip().splitlines()[-1]
        assert "Traceback" not in process.stderr
