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


def test_errors_over_unlabeled_views_are_drawn_beside_the_published_curve_with_their_crossing(tmp_path):
    cifar10 = {"dataset": "cifar10", "num_labels": "1000", "batch_size": 100, "step": 6_000}
    for seed in (0, 1):
        write_run(tmp_path, f"t-{seed}", 39.0, 30.0 + seed, seed=seed, labeled_per_batch="25", **cifar10)
    assert figures.errors_by_views(read(tmp_path)) is None
    supervised = {**cifar10, "method": "supervised", "labeled_per_batch": "all"}
    write_run(tmp_path, "s", 40.0, 41.0, **supervised)
    write_run(tmp_path, "tuning", 1.0, 1.0, phase="validation", **supervised)
    (axis,) = figures.errors_by_views(read(tmp_path)).axes
    drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axis.lines}
    assert drawn["Mean Teacher, teacher: 30.5 %"] == ([225_000, 450_000], [61.0, 30.5])
    assert drawn["Supervised only, at the end: 40.0 %"][1] == [40.0, 40.0]
    circles = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axis.lines if line.get_marker() == "o"]
    # The first is the published curve's, which comes down to its supervised 20.3 % after 650,000 images.
    assert circles == [(650_000, 20.3), (450_000, 30.5)]
    page.write_report(read(tmp_path), [], tmp_path / "report")
    assert "(report_views.png)" in (tmp_path / "report" / "report.md").read_text()


def test_a_data_set_without_a_published_curve_makes_no_figure_over_views(tmp_path):
    for method, labeled in (("supervised", "all"), ("mean_teacher", "25")):
        write_run(tmp_path, method, 9.0, 9.0, dataset="digits", method=method, labeled_per_batch=labeled)
    assert figures.errors_by_views(read(tmp_path)) is None
