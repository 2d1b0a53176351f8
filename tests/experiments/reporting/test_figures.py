import shutil

from support.finished_runs import read, write_run

from keras_mt.experiments.reporting import figures, page


def test_ten_splits_are_drawn_in_the_order_of_supervised_errors_and_fewer_are_not(tmp_path):
    digits = {"dataset": "digits", "num_labels": "50"}
    for seed in range(10):
        write_run(tmp_path, f"s-{seed}", 20.0 - seed, 50.0, seed=seed, method="supervised", **digits)
        if seed < 9:
            write_run(tmp_path, f"t-{seed}", 50.0, 1.0 + seed, seed=seed, **digits)
    write_run(tmp_path, "tuning", 50.0, 0.0, seed=9, **{**digits, "phase": "validation"})
    assert figures.errors_by_split(read(tmp_path)) is None
    write_run(tmp_path, "t-9", 50.0, 10.0, seed=9, **digits)
    (axis,) = figures.errors_by_split(read(tmp_path)).axes
    dots = {line.get_label(): line.get_ydata().tolist() for line in axis.lines if line.get_marker() == "o"}
    assert dots == {
        "Supervised only: 15.5 %": [11.0 + place for place in range(10)],
        "Mean Teacher: 5.5 %": [10.0 - place for place in range(10)],
    }
    write_run(tmp_path, "again", 0.0, 0.0, seed=0, student_dropout=0.0, **digits)
    assert figures.errors_by_split(read(tmp_path)) is None  # Which of two settings it would be about is open.
    shutil.rmtree(tmp_path / "again")
    page.write_report(read(tmp_path), [], tmp_path / "report")
    assert "(report_splits.png)" in (tmp_path / "report" / "report.md").read_text()


def test_one_number_of_labels_makes_no_figure(tmp_path):
    write_run(tmp_path, "only", 9.0, 9.0, dataset="digits")
    assert figures.errors_by_labels(read(tmp_path)) is None
