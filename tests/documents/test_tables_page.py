"""The page on tables of numbers says what the errors in results/tables say."""

import csv
from collections import defaultdict

import numpy as np
from support.programs import ROOT

PAGE = (ROOT / "docs/results_tables.md").read_text()


def errors():
    """Errors `[splits, 3]` of the network, its average and the teacher, by set and number of labels."""
    found = defaultdict(list)
    for path in sorted((ROOT / "results/tables").glob("*.csv")):
        with path.open() as lines:
            for row in csv.DictReader(lines):
                found[row["set"], row["labels"]].append([float(row[n]) for n in ("supervised", "average", "teacher")])
    return {key: np.array(rows) for key, rows in found.items()}


def cells(rows):
    supervised, average, teacher = rows.T
    means = [f"{column.mean():.1f}" for column in (supervised, average, teacher)]
    return [*means, f"{(teacher < supervised).sum()}, {(teacher == supervised).sum()}, {(teacher > supervised).sum()}"]


def test_each_row_is_that_of_the_files():
    found = errors()
    assert found
    for (name, labels), rows in found.items():
        assert len(rows) == 12
        assert f"| {name} | {labels} | {' | '.join(cells(rows))} |" in PAGE
    assert PAGE.count("| 100 |") + PAGE.count("| 10 |") == len(found)


def test_the_sums_are_those_of_the_rows():
    for labels in ("100", "10"):
        of_these = [rows for (_, number), rows in errors().items() if number == labels]
        means = np.mean([rows.mean(axis=0) for rows in of_these], axis=0)
        wins = sum((rows[:, 2] < rows[:, 0]).sum() for rows in of_these)
        assert f"with {labels} labels {means[0]:.1f} and {means[2]:.1f} %" in PAGE
        assert f"better on {wins} of {12 * len(of_these)} splits" in PAGE
