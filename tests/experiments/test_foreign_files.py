"""No program writes over a file that it did not make, and what can't be done is refused before the first is written."""

import errno
import json
import os
import shutil
import warnings

import numpy as np
import pytest
import tensorflow as tf
from support.programs import TINY


def write_picture(path):
    path.write_bytes(tf.io.encode_png(np.zeros((16, 16, 1), "uint8")).numpy())
    return path


def test_a_contact_sheet_replaces_contact_sheets_only(run, tmp_path, said):
    mine, other, sheet = (write_picture(tmp_path / f"{name}.png") for name in ("mine", "other", "sheet"))
    sheet.unlink()
    (tmp_path / "text.png").write_text("no picture")
    for path, flags, words in (
        (mine, [], "is one of the pictures"),
        (mine, ["--force"], "is one of the pictures"),
        (other, [], "no contact sheet; name another file, or give --force"),
        (run / "results.json", ["--force"], "no PNG file"),
        (tmp_path / "text.png", ["--force"], "no PNG file"),
        (run, [], "is a folder"),
        (tmp_path / "nowhere" / "sheet.png", ["--force"], "nowhere is no folder that can be written to"),
    ):
        before = path.read_bytes() if path.is_file() else None
        status, errors = said("predict", [f"--run_dir={run}", f"--contact_sheet={path}", str(mine), *flags])
        assert status == 2
        assert words in errors
        assert (path.read_bytes() if path.is_file() else None) == before
    for _ in range(2):
        assert said("predict", [f"--run_dir={run}", f"--contact_sheet={sheet}", str(mine)]) == (0, "")
    assert said("predict", [f"--run_dir={run}", f"--contact_sheet={other}", "--force", str(mine)]) == (0, "")


def test_a_contact_sheet_that_cannot_be_written_leaves_the_one_that_was_there(run, tmp_path, said, monkeypatch):
    mine, sheet = write_picture(tmp_path / "mine.png"), tmp_path / "sheet.png"
    predict = [f"--run_dir={run}", f"--contact_sheet={sheet}", str(mine)]
    assert said("predict", predict) == (0, "")
    before, names = sheet.read_bytes(), sorted(tmp_path.iterdir())

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert said("predict", predict) == (1, f"error: {sheet} can't be written (No space left on device)\n")
    assert sheet.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == names


def test_a_contact_sheet_and_a_report_are_written_to_what_a_link_leads_to(run, tmp_path, said):
    (tmp_path / "elsewhere").mkdir()
    mine, sheet = write_picture(tmp_path / "mine.png"), tmp_path / "elsewhere" / "sheet.png"
    other = tmp_path / "other.png"
    other.write_bytes(tf.io.encode_png(np.full((16, 16, 1), 255, "uint8")).numpy())
    link = tmp_path / "link.png"
    link.symlink_to(sheet)
    sheets = set()
    for picture in (mine, other):  # The first time it leads nowhere yet.
        assert said("predict", [f"--run_dir={run}", f"--contact_sheet={link}", str(picture)]) == (0, "")
        assert link.is_symlink()
        sheets.add(sheet.read_bytes())
    assert len(sheets) == 2
    report = [f"--runs={run}", f"--output={tmp_path / 'report'}"]
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.md").symlink_to(tmp_path / "elsewhere" / "page.md")
    assert said("report", report) == (0, "")
    assert (tmp_path / "elsewhere" / "page.md").read_text().startswith("# Mean Teacher: results")
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == ["page.md", "sheet.png"]


def test_each_file_of_a_report_is_whole_before_it_has_its_name(run, tmp_path, said, monkeypatch):
    replace, replaced = os.replace, []
    monkeypatch.setattr(os, "replace", lambda source, path: (replace(source, path), replaced.append(path)))
    assert said("report", [f"--runs={run}", f"--output={tmp_path / 'output'}"]) == (0, "")
    assert set(replaced) == set((tmp_path / "output").iterdir())
    assert any(path.suffix == ".png" for path in replaced)


def test_files_of_names_that_an_earlier_version_wrote_first_are_kept(run, tmp_path, said):
    output = tmp_path / "output"
    output.mkdir()
    (output / "report.md.unfinished").write_text("precious")
    assert said("report", [f"--runs={run}", f"--output={output}"]) == (0, "")
    assert (output / "report.md.unfinished").read_text() == "precious"


def test_a_report_replaces_reports_only_and_stays_in_its_folder(run, tmp_path, said):
    output = tmp_path / "output"
    output.mkdir()
    report = [f"--runs={run}", f"--output={output}"]
    for name in ("README.md", "other.html", "third_training_curves.png"):
        (output / name).write_text("precious")
        status, errors = said("report", [*report, f"--name={name.partition('.')[0].partition('_')[0]}"])
        assert status == 2
        assert f"{output / name} was written by no report" in errors
        assert {path.name for path in output.iterdir()} == {name}
        assert (output / name).read_text() == "precious"
        (output / name).unlink()
    for name in ("../out", "/tmp/out", "a/b", "..", "."):
        status, errors = said("report", [*report, f"--name={name}"])
        assert status == 2
        assert f"--name={name} must be a name without folders" in errors
    assert not list(output.iterdir())
    for _ in range(2):
        assert said("report", report) == (0, "")
    (output / "report.html").write_text("precious")
    assert said("report", [*report, "--force"]) == (0, "")
    assert "keras_mt report" in (output / "report.html").read_text()


@pytest.mark.parametrize("file", ["results.json", "evaluations.csv", "flags.cfg", "networks.json"])
def test_an_export_of_a_damaged_run_writes_nothing_and_works_once_it_is_mended(run, tmp_path, said, file):
    sound, output = (run / file).read_text(), tmp_path / "exported"
    (run / file).write_text(sound[: len(sound) // 2] + "\x00 nonsense")
    for _ in range(2):
        status, errors = said("export", [f"--run_dir={run}", f"--output={output}"])
        assert status in (1, 2)
        assert file in errors
        assert not output.exists()
    if file == "results.json":
        (run / file).write_text(sound)
        assert said("export", [f"--run_dir={run}", f"--output={output}"])[0] == 0


@pytest.mark.parametrize(("file", "format"), [("MODEL_CARD.md", "saved_model"), ("labels.txt", "litert")])
def test_an_export_replaces_no_file_of_somebody_else(run, tmp_path, said, file, format):
    output = tmp_path / "exported"
    output.mkdir()
    (output / file).write_text("precious")
    status, errors = said("export", [f"--run_dir={run}", f"--format={format}", f"--output={output}"])
    assert status == 2
    assert f"{file} is there already and of no such export" in errors
    assert [path.name for path in output.iterdir()] == [file]
    assert (output / file).read_text() == "precious"


@pytest.mark.parametrize("folder", ["exported_teacher", "exported_teacher/mine", "checkpoints", "events/teacher"])
def test_an_export_keeps_out_of_folders_that_training_writes_anew(run, said, folder):
    before = sorted(run.rglob("*"))
    status, errors = said("export", [f"--run_dir={run}", f"--output={run / folder}"])
    assert status == 2
    assert f"--output={run / folder} is in {run / folder.partition('/')[0]}, which train writes anew" in errors
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize("name", ["mine.txt", "variables/mine.txt", "1/saved_model.pb"])
def test_a_finished_run_that_is_given_again_removes_no_file_of_somebody_else(run, said, name):
    path, events = run / "exported_teacher" / name, run / "events" / "teacher" / "mine.txt"
    path.parent.mkdir(exist_ok=True)
    for mine in (path, events):
        mine.write_text("precious")
    status, errors = said("train", [*TINY, f"--run_dir={run}"])
    assert status == 1
    assert f"{run / 'exported_teacher' / name.removesuffix('/saved_model.pb')} is of no exported teacher" in errors
    assert path.read_text() == "precious"
    path.rename(run / "mine.txt")
    if name.startswith("1/"):
        path.parent.rmdir()
    assert said("train", [*TINY, f"--run_dir={run}"])[0] == 0
    assert events.read_text() == "precious"


def test_a_link_to_an_exported_teacher_stays_one(run, tmp_path, said):
    elsewhere = (run / "exported_teacher").rename(tmp_path / "elsewhere")
    (run / "exported_teacher").symlink_to(elsewhere)
    status, errors = said("train", [*TINY, f"--run_dir={run}"])
    assert status == 1
    assert f"{run / 'exported_teacher'} is a link" in errors
    assert (run / "exported_teacher").is_symlink()


def test_a_damaged_evaluation_ends_no_run_as_its_result(run, said):
    path = run / "evaluations.csv"
    sound = path.read_text()
    last = sound.splitlines()[-1].split(",")
    for row, words in (
        ([last[0], last[1], "nan", *last[3:]], "line 4: teacher_error is nan"),
        (last[:2], "line 4: it has 2 of"),
    ):
        path.write_text("\n".join([*sound.splitlines()[:-1], ",".join(row), ""]))
        before = (run / "results.json").read_bytes()
        status, errors = said("train", [*TINY, f"--run_dir={run}"])
        assert status == 1
        assert words in errors
        assert (run / "results.json").read_bytes() == before


def test_a_run_that_learned_nothing_is_said_in_the_report_and_on_the_model_card(run, tmp_path, said):
    path = run / "results.json"
    content = json.loads(path.read_text())
    assert content["chance"]["images"] == 599
    assert 88 < content["chance"]["error"] < 91
    words = "is no better than chance"
    for error, told in ((content["chance"]["error"] + 1, True), (40.0, False)):
        content["teacher"]["error"] = error
        path.write_text(json.dumps(content))
        rows = (run / "evaluations.csv").read_text().splitlines()
        last = rows[-1].split(",")
        (run / "evaluations.csv").write_text("\n".join([*rows[:-1], ",".join([*last[:2], str(error), *last[3:]]), ""]))
        assert said("report", [f"--runs={run}", f"--output={tmp_path / 'report'}"]) == (0, "")
        assert (words in (tmp_path / "report" / "report.md").read_text()) == told
        assert said("export", [f"--run_dir={run}", "--output", str(tmp_path / f"export-{told}")])[0] == 0
        assert (words in (tmp_path / f"export-{told}" / "MODEL_CARD.md").read_text()) == told


OUTSIDE = ("<script>alert(1)</script>", r"$\frac{x$", "a|b", "`code`", "[link](http://x)", "*bold*", "&lt;")


def test_text_from_outside_stays_text(run, tmp_path, said):
    networks, results = (json.loads((run / name).read_text()) for name in ("networks.json", "results.json"))
    names = [*OUTSIDE, "seven", "eight", "nine"]
    networks["class_names"], networks["data"]["origin"] = names, OUTSIDE[0]
    (run / "networks.json").write_text(json.dumps(networks))
    for record in run.glob("checkpoints/*/experiment.json"):
        content = json.loads(record.read_text())
        content["data"]["class_names"] = names
        record.write_text(json.dumps(content))
    for number, flags in enumerate(({"labels_file": OUTSIDE[0]}, {"labels_file": OUTSIDE[1]}, {})):
        other = tmp_path / "runs" / f"a|b-{number}-<b>"
        shutil.copytree(run, other, ignore=shutil.ignore_patterns("checkpoints", "exported_teacher", "events"))
        changed = {**results, "flags": {**results["flags"], **flags, "dataset": OUTSIDE[1], "phase": "validation"}}
        (other / "results.json").write_text(json.dumps(changed))
    shutil.copytree(run, tmp_path / "runs" / "unfinished <i>", ignore=shutil.ignore_patterns("results.json"))
    assert said("report", [f"--runs={tmp_path / 'runs'}", f"--output={tmp_path / 'report'}"])[0] == 0
    picture = write_picture(tmp_path / r"$\frac{x$.png")
    sheet = tmp_path / "sheet.png"
    assert said("predict", [f"--run_dir={run}", f"--contact_sheet={sheet}", str(picture)])[0] == 0
    assert said("export", [f"--run_dir={run}", f"--output={tmp_path / 'exported'}"])[0] == 0
    labels = tmp_path / "exported" / "1" / "assets" / "labels.txt"
    assert labels.read_text(encoding="utf-8").splitlines() == names
    pages = [tmp_path / "report" / "report.md", tmp_path / "report" / "report.html"]
    for page in (*pages, tmp_path / "exported" / "MODEL_CARD.md"):
        text = page.read_text(encoding="utf-8")
        for tag in ("<script", "<b>", "<i>"):
            assert tag not in text, page
    table = [line for line in pages[0].read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    columns = {line.replace("\\|", "").count("|") for line in table if "a\\|b" in line}
    assert len(columns) == 1
    card = (tmp_path / "exported" / "MODEL_CARD.md").read_text(encoding="utf-8")
    for text in (r"[link\](", r"*bold\*", r"`code\`"):
        assert f"\\{text}" in card
    assert "&amp;lt;" in card


@pytest.mark.parametrize("name", ["new\nline", "tab\tstop", "\x1b[31m", " ", "caf\udce9"])
def test_a_class_with_control_characters_is_refused_when_the_folder_is_read(tmp_path, said, name):
    for folder in ("cat", name):
        (tmp_path / "data" / folder).mkdir(parents=True)
        write_picture(tmp_path / "data" / folder / "1.png")
    flags = ["--dataset=folder", f"--data_dir={tmp_path / 'data'}", f"--run_dir={tmp_path / 'run'}", "--batch_size=1"]
    status, errors = said("train", [*flags, "--phase=validation"])
    assert status == 2
    assert "has a class named" in errors
    assert not (tmp_path / "run").exists()


def test_an_empty_path_is_no_picture(run, said):
    status, errors = said("predict", [f"--run_dir={run}", ""])
    assert status == 2
    assert "no pictures were named" in errors


def test_a_device_is_no_picture_no_contact_sheet_and_no_text_without_an_end(run, tmp_path, said):
    picture = str(write_picture(tmp_path / "p.png"))
    for arguments, reason in (
        (("predict", [f"--run_dir={run}", "/dev/zero"]), "/dev/zero is no file"),
        (
            ("predict", [f"--run_dir={run}", "--contact_sheet=/dev/null", picture]),
            "--contact_sheet=/dev/null is no file",
        ),
        (
            ("predict", [f"--run_dir={run}", "--contact_sheet=/proc/self/mem", picture]),
            "mem is there already and can't",
        ),
        (("train", ["--flagfile=/dev/zero"]), "--flagfile=/dev/zero can't be read (larger than 64 MB)"),
        (("sweep", ["--sweep=/dev/zero"]), "--sweep=/dev/zero can't be read (larger than 64 MB)"),
    ):
        status, errors = said(*arguments)
        assert status == 2
        assert reason in errors


def test_a_pipe_in_a_folder_of_pictures_is_skipped_in_words(run, tmp_path, said):
    (tmp_path / "pictures").mkdir()
    os.mkfifo(tmp_path / "pictures" / "a.png")
    write_picture(tmp_path / "pictures" / "b.png")
    status, errors = said("predict", [f"--run_dir={run}", str(tmp_path / "pictures")])
    assert status == 0
    assert errors.startswith(f"warning: {tmp_path / 'pictures' / 'a.png'} in ")
    (tmp_path / "pictures" / "b.png").unlink()
    assert said("predict", [f"--run_dir={run}", str(tmp_path / "pictures")])[0] == 2


def test_what_the_library_warns_of_is_said_once_and_without_code(run, said, monkeypatch):
    def warn(*_):
        for place in (1, 2):
            warnings.warn("Mind this.", stacklevel=place)

    monkeypatch.setattr("keras_mt.experiments.report.main", warn)
    monkeypatch.setattr(warnings, "filters", [("always", None, Warning, None, 0)])
    assert said("report", [f"--runs={run}"]) == (0, "warning: Mind this.\n")


@pytest.mark.parametrize(
    "flag", ["--noflip=3", "--noflip=", "--batch_size=99999999999999999999", "--batch_size=100000000"]
)
def test_a_flag_that_can_not_be_is_one_sentence(tmp_path, said, flag):
    status, errors = said("train", [*TINY, flag, f"--run_dir={tmp_path / 'run'}"])
    assert status == 2
    (sentence,) = errors.splitlines()
    assert flag.partition("=")[0].replace("--no", "--") in sentence.replace("--no", "--")
    assert not (tmp_path / "run").exists()
