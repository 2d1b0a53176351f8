import json
import re
import urllib.parse

import pytest
from support.finished_runs import read, write_run
from support.programs import run_program

from keras_mt.experiments.errors import RunError
from keras_mt.experiments.reporting import ablations, figures, page, tables
from keras_mt.experiments.reporting.published import TABLES
from keras_mt.experiments.running.processor import processor

# Of flags/cifar10_1000.cfg.
PUBLISHED_CIFAR10 = {
    "labeled_per_batch": "vary", "max_consistency_weight": 2.0, "rampup_steps": 40_000, "rampdown_steps": 25_000,
    "adam_beta_2_during_rampup": 0.999, "ema_decay_during_rampup": 0.999,
}  # fmt: skip


def test_a_table_holds_mean_deviation_and_number_beside_the_published_figure(tmp_path):
    for seed, error in enumerate((4.0, 5.0, 6.0)):
        write_run(tmp_path, f"mt{seed}", 9.0, error, seed=seed)
    write_run(tmp_path, "sup", 27.0, 30.0, step=40_000, method="supervised")
    ((title, table, _),) = tables.published_tables(read(tmp_path))
    assert "table 1" in title
    assert table.loc["Mean Teacher, here", "250 labels"] == "5.00 ± 1.00 (3 runs)"
    assert table.loc["Mean Teacher, published", "250 labels"] == "4.35 ± 0.50"
    assert table.loc["Supervised only, here", "250 labels"] == "27.00 (1 run)"  # The student.
    assert table.loc["Mean Teacher, here", "500 labels"] == ""


def test_a_run_that_is_not_the_papers_is_said_to_be_another_experiment(tmp_path):
    changed = {"width": 0.25, "precision": "bfloat16", "batch_size": 32}
    write_run(tmp_path, "a", 9.0, 5.0, step=2000, data="TFDS svhn, JPEG images", **changed)
    ((_, table, _),) = tables.published_tables(read(tmp_path))
    (label,) = [label for label in table.index if "here" in label]
    for part in ("width 0.25", "batches of 32 ", "2,000 steps instead of 180,000", "bfloat16 instead", "JPEG copies"):
        assert part in label
    assert table.loc["Mean Teacher, published", "250 labels"] == "4.35 ± 0.50"


def test_a_run_of_other_flags_than_the_published_is_said_to_be_another_experiment(tmp_path):
    cifar10 = {"dataset": "cifar10", "num_labels": "1000", "flip": True, "step": 150_000, "data": "TFDS cifar10"}
    changed = {
        "student_dropout": 0.0, "max_consistency_weight": 50.0, "max_learning_rate": 0.0001, "input_noise": 0.0,
        "preprocessing": "standardize",
    }  # fmt: skip
    write_run(tmp_path / "published", "a", 9.0, 21.0, **cifar10, preprocessing="zca", **PUBLISHED_CIFAR10)
    write_run(tmp_path / "changed", "a", 9.0, 15.0, **cifar10, **{**PUBLISHED_CIFAR10, **changed})
    write_run(tmp_path / "little", "a", 9.0, 16.0, **cifar10, **{**PUBLISHED_CIFAR10, "weight_decay": 0.5})
    # What it does not read makes no other experiment of supervised training.
    supervised = {"method": "supervised", "max_consistency_weight": 5.0, "evaluation_steps": 7}
    write_run(tmp_path / "supervised", "a", 9.0, 16.0, step=40_000, **supervised)
    for name, row in (
        ("published", "Mean Teacher, here"),
        (
            "changed",
            "Mean Teacher, here: another experiment (preprocessing standardize instead of zca; input_noise 0 instead "
            "of 0.15; student_dropout 0 instead of 0.5; …)",
        ),
        ("little", "Mean Teacher, here: another experiment (weight_decay 0.5 instead of 0)"),
        ("supervised", "Supervised only, here"),
    ):
        ((_, table, _),) = tables.published_tables(read(tmp_path / name))
        assert row in table.index


def test_methods_are_told_apart_by_what_is_added_to_them(tmp_path):
    cifar10 = {"dataset": "cifar10", "num_labels": "4000", "flip": True, "batch_size": 200}
    write_run(tmp_path, "plain", 9.0, 12.0, step=150_000, **{**cifar10, "batch_size": 100})
    write_run(tmp_path, "mixed", 9.0, 8.0, step=200_000, mixing="interpolation", **cifar10)
    write_run(tmp_path, "cut", 9.0, 7.0, step=200_000, mixing="cutmix", confidence_threshold=0.97, **cifar10)
    found = {title: table["4,000 labels"] for title, table, _ in tables.published_tables(read(tmp_path))}
    mixed = next(column for title, column in found.items() if "mixed images" in title)
    assert mixed["Mean Teacher, interpolation, published"] == "7.29"
    assert mixed["Mean Teacher, interpolation, here"] == "8.00 (1 run)"
    assert mixed["Mean Teacher, CutMix, confidence, here"] == "7.00 (1 run)"
    assert "Mean Teacher, CutMix, confidence, published" not in mixed.index
    plain = next(column for title, column in found.items() if "table 2" in title)
    assert plain["Mean Teacher, here"] == "12.00 (1 run)"
    rows, _ = tables.all_settings(read(tmp_path))
    assert set(rows["method"]) == {
        "Mean Teacher", "Mean Teacher, interpolation", "Mean Teacher, CutMix, confidence"
    }  # fmt: skip
    assert figures.training_curves(read(tmp_path))


def test_a_second_average_is_what_a_run_is_told_by(tmp_path):
    folder = write_run(tmp_path, "a", 9.0, 5.0, second_ema_decay=0.9999)
    results = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps({**results, "average": {"error": 4.0}}))
    write_run(tmp_path, "b", 9.0, 5.0, seed=1)
    assert [run.error() for run in read(tmp_path)] == [4.0, 5.0]
    rows, _ = tables.all_settings(read(tmp_path))
    assert list(rows["second average's error, %"]) == ["4.00 (1 run)", ""]
    (folder / "results.json").write_text(json.dumps({**results, "average": {"error": 400.0}}))
    with pytest.raises(RunError, match=r"average.error is 400.0; a number from 0 to 100 is needed"):
        read(tmp_path)


def test_two_settings_are_never_averaged(tmp_path):
    write_run(tmp_path, "a", 9.0, 4.0, max_consistency_weight=1.0)
    write_run(tmp_path, "b", 9.0, 8.0, max_consistency_weight=3.0)
    ((_, table, _),) = tables.published_tables(read(tmp_path))
    here = [cell for label, cell in table["250 labels"].items() if "here" in label]
    assert sorted(here) == ["4.00 (1 run)", "8.00 (1 run)"]
    rows, _ = tables.all_settings(read(tmp_path))
    assert len(rows) == 2


def test_what_most_settings_share_is_said_once(tmp_path):
    for name, changed in (
        ("a", {}),
        ("b", {"teacher_dropout": 0.0}),
        ("c", {"max_consistency_weight": 3.0}),
        ("d", {"max_consistency_weight": 5.0}),
    ):
        write_run(tmp_path, name, 9.0, 4.0, **changed)
    rows, usual = tables.all_settings(read(tmp_path))
    assert sorted(rows["what differs"]) == [
        "max_consistency_weight 1",
        "max_consistency_weight 1, teacher_dropout 0",
        "max_consistency_weight 3",
        "max_consistency_weight 5",
    ]  # Two of four have the weight 1, which is no majority.
    assert usual == ["svhn_cropped, 250 labels, Mean Teacher, test: where nothing else is said, teacher_dropout 0.5."]


def test_the_table_of_imagenet_is_of_top5_errors(tmp_path):
    imagenet = {"dataset": "imagenet2012", "num_labels": "128000", "architecture": "resnext152", "batch_size": 400}
    write_run(tmp_path, "a", 40.0, 30.0, step=345_950, top5=9.0, **imagenet)
    write_run(tmp_path, "b", 40.0, 30.0, step=345_950, seed=1, **imagenet)  # Has none.
    ((_, table, _),) = tables.published_tables(read(tmp_path))
    assert table.loc["Mean Teacher, here", "10 % of the labels"] == "9.00 (1 run)"


@pytest.mark.parametrize("table", TABLES, ids=[table.title for table in TABLES])
def test_published_figures_belong_to_columns_and_lengths(table):
    for method, published in table.figures.items():
        assert set(published) <= set(table.columns)
        assert all((method, column) in table.steps for column in published)
    assert list(table.columns) == [*dict.fromkeys(table.columns)]


def test_an_ablation_is_what_differs_in_one_thing(tmp_path):
    for seed in (0, 1):
        for decay in (0.9, 0.99):
            write_run(
                tmp_path, f"{decay}-{seed}", 9.0, 10 * decay + seed, seed=seed, phase="validation",
                ema_decay_during_rampup=decay, ema_decay_after_rampup=decay,
            )  # fmt: skip
        write_run(tmp_path, f"scheme-{seed}", 9.0, 5.0, seed=seed, phase="validation")
        write_run(tmp_path, f"dropout-{seed}", 9.0, 7.0, seed=seed, phase="validation", teacher_dropout=0.0)
    found = {ablation.varied: ablation.errors for ablation in ablations.find_ablations(read(tmp_path))}
    assert found == {
        "EMA decay": {"0.9": [9.0, 10.0], "0.99": [9.9, 10.9], "0.99 → 0.999": [5.0, 5.0]},
        "dropout, student / teacher": {"0.5": [5.0, 5.0], "0.5 / 0": [7.0, 7.0]},
    }


def test_ablations_on_two_data_sets_are_told_apart_by_the_data_only(tmp_path):
    for dataset, width in (("svhn_cropped", 1.0), ("cifar10", 0.25)):
        for trust in (0.0, 1.0):
            write_run(tmp_path, f"{dataset}-{trust}", 9.0, 5.0, dataset=dataset, width=width, consistency_trust=trust)
    write_run(tmp_path, "rampup", 9.0, 5.0, dataset="cifar10", width=0.25, consistency_trust=0.0, rampup_steps=9)
    found = [(ablation.varied, ablation.setting) for ablation in ablations.find_ablations(read(tmp_path))]
    trust = "trust: MSE (0) to KL (1)"
    assert found == [
        (trust, "cifar10, 250 labels"),
        (trust, "svhn_cropped, 250 labels"),
        ("ramp-up, steps", "cifar10, 250 labels"),
    ]


def test_the_report_is_one_page_with_its_figures_and_the_same_bytes_each_time(tmp_path):
    for seed in (0, 1):
        for weight in (0.3, 1.0, 3.0):
            write_run(
                tmp_path / "runs", f"{weight}-{seed}", 9.0, weight + seed, seed=seed, max_consistency_weight=weight
            )
    (tmp_path / "runs" / "begun").mkdir()
    (tmp_path / "runs" / "begun" / "flags.cfg").write_text("")
    (tmp_path / "introduction.txt").write_text("What was\nrun.\n\nAnd why.\n")
    outputs = []
    for name in ("first", "second"):
        process = run_program(
            "report",
            f"--runs={tmp_path / 'runs'}",
            f"--introduction={tmp_path / 'introduction.txt'}",
            f"--output={tmp_path / name}",
        )
        assert process.returncode == 0, process.stderr
        outputs.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert outputs[0] == outputs[1]
    assert set(outputs[0]) == {"report.md", "report.html", "report_training_curves.png", "report_ablations.png"}
    page = outputs[0]["report.html"].decode()
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page.replace("http-equiv", "")  # Nothing is fetched.
    for part in ("4.35 ± 0.50", "Mean Teacher", "begun"):
        assert part in page
    text = outputs[0]["report.md"].decode()
    assert text.startswith("# Mean Teacher: results\n\nWhat was run.\n\nAnd why.\n\n")
    assert "| Mean Teacher, published | 4.35 ± 0.50 |" in text
    assert "| consistency weight | 0.3 | 0.80 ± 0.71 (2 runs) |" in text
    assert "unfinished" in text


@pytest.mark.parametrize("name", ["my (report)", "a b", "50%20", "a<b>[c]", "a:b?c#d", "caf\udce9", "größe"])
def test_a_page_shows_its_figures_whatever_its_name(tmp_path, name):
    write_run(tmp_path / "runs", "a", 9.0, 5.0)
    for _ in range(2):  # The second time its figures are known as its own.
        page.write_report(read(tmp_path / "runs"), [], tmp_path / "report", name)
    text = (tmp_path / "report" / f"{name}.md").read_bytes().decode("utf-8", "surrogateescape")
    (target,) = re.findall(r"\]\(([^()\s<>]*training_curves\.png)\)", text)
    assert urllib.parse.unquote(target, errors="surrogateescape") == f"{name}_training_curves.png"
    assert (target == f"{name}_training_curves.png") == (name == "größe")


def test_more_ablations_than_a_figure_can_hold_are_counted(tmp_path, monkeypatch):
    from keras_mt.experiments.reporting import page

    for weight in (0.3, 1.0):
        write_run(tmp_path / "runs", str(weight), 9.0, weight, max_consistency_weight=weight)
    monkeypatch.setattr(page, "_MOST_PANELS", 0)
    page.write_report(read(tmp_path / "runs"), [], tmp_path / "report")
    assert "1 sets of runs differ in one thing only" in (tmp_path / "report" / "report.md").read_text()
    assert not (tmp_path / "report" / "report_ablations.png").exists()


def test_each_data_set_has_curves_of_its_own(tmp_path):
    datasets = {"digits": "digits", "svhn_cropped:3.1.0": "svhn_cropped_3_1_0"}
    for dataset, name in datasets.items():
        write_run(tmp_path / "runs", name, 9.0, 5.0, dataset=dataset)
    page.write_report(read(tmp_path / "runs"), [], tmp_path / "report", "report", [])
    text = (tmp_path / "report" / "report.md").read_text()
    for name in datasets.values():
        assert f"(report_training_curves_{name}.png)" in text
        assert (tmp_path / "report" / f"report_training_curves_{name}.png").exists()


def test_a_run_that_no_published_table_has_a_place_for_is_in_a_table_all_the_same(tmp_path):
    write_run(tmp_path, "published", 20.0, 15.0)
    write_run(tmp_path, "other", 30.0, 25.0, step=100, dataset="cifar10", num_labels="1000", translate=4, flip=True)
    runs = read(tmp_path)
    assert [len(found) for found in (tables.published_tables(runs), runs)] == [1, 2]
    ((name, table),) = tables.by_labels(runs)
    assert name == "cifar10"
    assert table.loc["Mean Teacher", "1000 labels"] == "25.00 (1 run)"


def test_errors_by_labels_leave_out_the_runs_that_settings_were_chosen_on(tmp_path):
    digits = {"dataset": "digits", "method": "supervised"}
    for seed in (0, 1):
        for labels, error in (("20", 9.0), ("100", 3.0)):
            write_run(tmp_path, f"{labels}-{seed}", error + seed, 50.0, seed=seed, num_labels=labels, **digits)
    write_run(tmp_path, "tuning", 0.0, 0.0, num_labels="20", **{**digits, "phase": "validation"})
    write_run(tmp_path, "other", 7.0, 7.0, num_labels="20", **{**digits, "student_dropout": 0.0})
    runs = read(tmp_path)
    ((name, table),) = tables.by_labels(runs)
    assert name == "digits"
    assert table.loc["Supervised only"].tolist() == ["9.50 ± 0.71 (2 runs)", "3.50 ± 0.71 (2 runs)"]
    assert table.loc["Supervised only, variant 2"].tolist() == ["7.00 (1 run)", ""]
    (axis,) = figures.errors_by_labels(runs).axes
    assert axis.lines[0].get_xdata().tolist() == [20, 100]
    assert axis.lines[0].get_ydata().tolist() == [9.5, 3.5]


def test_methods_are_compared_with_mean_teacher_on_the_same_seeds(tmp_path):
    for seed, (supervised, teacher) in enumerate([(9.0, 5.0), (8.0, 9.0), (7.0, 4.0)]):
        write_run(tmp_path, f"supervised-{seed}", supervised, 50.0, seed=seed, dataset="digits", method="supervised")
        write_run(tmp_path, f"teacher-{seed}", 50.0, teacher, seed=seed, dataset="digits")
    write_run(tmp_path, "unpaired", 90.0, 50.0, seed=3, dataset="digits", method="supervised")
    ((_, table),) = tables.by_labels(read(tmp_path))
    assert table.loc["Supervised only − Mean Teacher, paired by seed"].tolist() == ["2.00 ± 2.65 (3 runs), 2 above 0"]
    write_run(tmp_path, "variant", 50.0, 5.0, dataset="digits", student_dropout=0.0)
    ((_, table),) = tables.by_labels(read(tmp_path))
    assert not [row for row in table.index if "paired" in row]


def test_the_teacher_stands_beside_the_baselines_student_and_the_average_of_its_weights(tmp_path):
    for seed in (0, 1):
        for labels, error in (("20", 9.0), ("100", 3.0)):
            digits = {"dataset": "digits", "num_labels": labels, "seed": seed}
            write_run(tmp_path, f"s-{labels}-{seed}", error + seed, error - 1, method="supervised", **digits)
            write_run(tmp_path, f"t-{labels}-{seed}", 50.0, error - 2 * seed, **digits)
    runs = read(tmp_path)
    ((_, table),) = tables.by_labels(runs)
    average = "Supervised only, average of its weights"
    assert table.loc[average].tolist() == ["8.00 ± 0.00 (2 runs)", "2.00 ± 0.00 (2 runs)"]
    paired = table.loc[f"{average} − Mean Teacher, paired by seed"]
    assert paired.tolist() == ["0.00 ± 1.41 (2 runs), 1 above 0", "0.00 ± 1.41 (2 runs), 1 above 0"]
    assert tables.best(table) == {(row, n) for row in (average, "Mean Teacher") for n in ("20 labels", "100 labels")}
    (sentence,) = tables.headlines(runs)
    assert sentence == (
        "digits, 20 and 100 labels: Mean Teacher's teacher has an error of 8.00 and 2.00 %, supervised training's "
        "student of 9.50 and 3.50 %, the average of its weights of 8.00 and 2.00 %."
    )
    write_run(tmp_path, "other", 50.0, 1.0, dataset="digits", num_labels="20", student_dropout=0.0)
    (sentence,) = tables.headlines(read(tmp_path))  # Which of two settings it would be about is open.
    assert sentence.startswith("digits, 100 labels")


def test_the_lowest_error_here_is_bold_and_no_published_one(tmp_path):
    write_run(tmp_path, "mt", 9.0, 5.0)
    write_run(tmp_path, "sup", 27.0, 30.0, step=40_000, method="supervised")
    ((_, table, _),) = tables.published_tables(read(tmp_path))
    assert tables.best(table) == {("Mean Teacher, here", "250 labels")}
    page.write_report(read(tmp_path), [], tmp_path / "report")
    assert "| Mean Teacher, here | **5.00 (1 run)** |" in (tmp_path / "report" / "report.md").read_text()
    assert "<td><b>5.00 (1 run)</b></td>" in (tmp_path / "report" / "report.html").read_text()


def test_the_machine_of_a_setting_is_said_where_it_is_known(tmp_path):
    write_run(tmp_path, "old", 9.0, 5.0)
    assert "machine of the first" not in tables.all_settings(read(tmp_path))[0]
    path = write_run(tmp_path, "new", 9.0, 5.0, student_dropout=0.0) / "results.json"
    known = {"machine": {"processor": "A processor", "instructions": "AVX2"}, "seconds_per_step": 0.3333}
    path.write_text(json.dumps({**json.loads(path.read_text()), **known}))
    table, _ = tables.all_settings(read(tmp_path))
    assert set(table["machine of the first"]) == {"", "A processor, AVX2, 0.33 s a step"}
    known["machine"]["oneDNN"] = "on"
    path.write_text(json.dumps({**json.loads(path.read_text()), **known}))
    table, _ = tables.all_settings(read(tmp_path))
    assert set(table["machine of the first"]) == {"", "A processor, AVX2, oneDNN on, 0.33 s a step"}


def test_the_processor_and_its_instructions_are_read(tmp_path):
    described = tmp_path / "cpuinfo"
    one = "processor : {}\nmodel name : A: processor\nflags : fpu {}\n\n"
    for flags, instructions in (
        ("avx2 avx512f", "AVX-512"),
        ("avx2", "AVX2"),
        ("avx2 avx512f avx512_vnni", "AVX-512 VNNI"),
    ):
        described.write_text(one.format(0, flags) + one.format(1, flags))
        assert processor(described) == {"processor": "A: processor", "instructions": instructions}
    assert set(processor(tmp_path / "none")) == {"processor"}


def test_a_run_that_did_not_know_a_flag_is_one_with_its_default(tmp_path):
    write_run(tmp_path, "old", 9.0, 5.0)
    write_run(tmp_path, "new", 9.0, 7.0, seed=1, ema_every=1, class_balance=0.0)
    write_run(tmp_path, "other", 9.0, 1.0, ema_every=5)
    table, _ = tables.all_settings(read(tmp_path))
    rows = dict(zip(table["what differs"], table["teacher error, %"], strict=True))
    assert rows == {"ema_every 1": "6.00 ± 1.41 (2 runs)", "ema_every 5": "1.00 (1 run)"}
