"""Tables of errors: mean ± standard deviation over seeds, beside what is published."""

from collections import Counter

import pandas as pd

from keras_mt.experiments.reporting.ablations import Ablation
from keras_mt.experiments.reporting.published import METHODS, TABLES, Table, in_order, method_of, name_of
from keras_mt.experiments.reporting.published_settings import other_settings, short
from keras_mt.experiments.reporting.runs import SEEDS, Run

_PUBLISHED, _PAIRED, _AVERAGE = ", published", ", paired by seed", ", average of its weights"
_MOST_WAYS = 3
_NOT_PUBLISHED_AS_JPEG = ("svhn_cropped", "cifar10")


def mean_and_deviation(errors: list[float]) -> str:
    """Returns `mean ± standard deviation (n runs)`; no deviation of a single run."""
    values = pd.Series(errors)
    if len(values) == 1:
        return f"{values.mean():.2f} (1 run)"
    return f"{values.mean():.2f} ± {values.std():.2f} ({len(values)} runs)"


def differences(run: Run, table: Table, place: tuple[str, str]) -> list[str]:
    """Returns in which ways a run is not the published experiment: of flags as many as make three of all, and `…`."""
    found, flags = [], run.flags
    if flags["width"] != 1.0:
        found.append(f"width {flags['width']:g} of the published network's")
    if flags.get("blocks"):
        found.append(f"blocks {flags['blocks']}")
    batch_size = table.batch_sizes.get(place[0], 100)
    if flags["batch_size"] != batch_size:
        found.append(f"batches of {flags['batch_size']} images instead of {batch_size}")
    wanted = table.steps.get(place)
    if wanted and run.step != wanted:
        found.append(f"{run.step:,} steps instead of {wanted:,}")
    if flags["precision"] != "float32":
        found.append(f"{flags['precision']} instead of float32")
    if "JPEG" in run.data and flags["dataset"] in _NOT_PUBLISHED_AS_JPEG:
        found.append("images are JPEG copies, not the originals")
    others = other_settings(flags, table, place)
    told = others[: max(0, _MOST_WAYS - len(found))]
    return [*found, *told, *(["…"] if len(told) < len(others) else [])]


def best(table: pd.DataFrame) -> set[tuple[str, str]]:
    """Returns row and column of the lowest mean in each column, where there are several of runs here.

    Args:
        table: One of `published_tables` or of `by_labels`.
    """
    rows = [row for row in table.index if not row.endswith((_PUBLISHED, _PAIRED))]
    found = set()
    for column in table.columns:
        means = {row: float(cell.partition(" ")[0]) for row in rows if (cell := table.loc[row, column])}
        if len(means) > 1:
            lowest = min(means.values())
            found |= {(row, column) for row, mean in means.items() if mean == lowest}
    return found


def headlines(runs: list[Run]) -> list[str]:
    """Returns, of each data set, a sentence on Mean Teacher against supervised training and the average of its weights.

    Args:
        runs: Finished runs; those of the validation phase are left out, and settings of which there are several.
    """
    of_data = {}
    for run in runs:
        if run.flags["phase"] == "test" and method_of(run.flags) in ("mean_teacher", "supervised"):
            of_labels = of_data.setdefault(run.flags["dataset"], {}).setdefault(str(run.flags["num_labels"]), {})
            of_labels.setdefault(method_of(run.flags), []).append(run)
    sentences = []
    for dataset, of_labels in sorted(of_data.items()):
        both = {n: of for n, of in of_labels.items() if len(of) > 1 and all(map(_are_one_setting, of.values()))}
        if both:
            teacher = _in_words([_mean(of["mean_teacher"], "teacher") for of in both.values()])
            student, average = (
                _in_words([_mean(of["supervised"], network) for of in both.values()])
                for network in ("student", "teacher")
            )
            sentences.append(
                f"{dataset}, {_in_words(both)} labels: Mean Teacher's teacher has an error of {teacher} %, supervised "
                f"training's student of {student} %, the average of its weights of {average} %."
            )
    return sentences


def _are_one_setting(runs):
    return len({run.setting() for run in runs}) == 1


def _mean(runs, network):
    return f"{pd.Series([getattr(run, network)['error'] for run in runs]).mean():.2f}"


def _in_words(parts):
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def published_tables(runs: list[Run]) -> list[tuple[str, pd.DataFrame, list[str]]]:
    """Returns title, table and remarks of each published table that a run belongs to.

    A method has a row of published figures, and one for each way in which runs here are not that experiment.
    """
    results = []
    for table in TABLES:
        with_error = [run for run in runs if run.error(table.error) is not None]
        placed = [(place, run) for run in with_error if (place := table.place_of(run.flags))]
        if placed:
            results.append((table.title, _fill(table, placed), [table.note] if table.note else []))
    return results


def _fill(table, placed):
    here = {}  # (method, what of it, ways) -> column -> setting -> errors
    for (method, column), run in placed:
        ways = tuple(differences(run, table, (method, column)))
        found = {"": run.error(table.error)}
        if method == "supervised" and table.error in run.teacher:
            found[_AVERAGE] = run.teacher[table.error]
        for what, error in found.items():
            cells = here.setdefault((method, what, ways), {})
            cells.setdefault(column, {}).setdefault(run.setting(), []).append(error)
    rows = {}
    for method in in_order([*table.figures, *(method for method, _, _ in here)]):
        name = name_of(method)
        if table.figures.get(method):
            rows[f"{name}{_PUBLISHED}"] = table.figures[method]
        for (of_method, what, ways), cells in here.items():
            if of_method != method:
                continue
            for number in range(max(len(settings) for settings in cells.values())):
                label = f"{name}{what}, here" + (f", variant {number + 1}" if number else "")
                label += f": another experiment ({'; '.join(ways)})" if ways else ""
                rows[label] = {
                    column: mean_and_deviation(list(settings.values())[number])
                    for column, settings in cells.items()
                    if number < len(settings)
                }
    filled = {
        label: {heading: cells.get(column, "") for column, heading in table.columns.items()}
        for label, cells in rows.items()
    }
    return pd.DataFrame.from_dict(filled, orient="index")


def by_labels(runs: list[Run]) -> list[tuple[str, pd.DataFrame]]:
    """Returns, of the runs that are in no published table, each data set's name and errors by method and labels.

    Settings that differ are never averaged: a method with several has a row for each.

    Args:
        runs: Finished runs; those of the validation phase, on which settings are chosen, are left out.
    """
    found = {}
    for run in runs:
        if run.flags["phase"] == "test" and not any(table.place_of(run.flags) for table in TABLES):
            found.setdefault(run.flags["dataset"], []).append(run)
    return [(dataset, _by_labels(of_dataset)) for dataset, of_dataset in sorted(found.items())]


def _by_labels(runs):
    numbers = dict.fromkeys(str(run.flags["num_labels"]) for run in runs)  # In the order of `read_runs`.
    lines = {}  # row -> number of labels -> seeds -> error
    for method in in_order(method_of(run.flags) for run in runs):
        name, settings, averages = name_of(method), {}, {}
        for run in runs:
            if method_of(run.flags) == method:
                rest = tuple(part for part in run.setting() if part[0] != "num_labels")
                labels, seeds = str(run.flags["num_labels"]), tuple(run.flags[seed] for seed in SEEDS)
                settings.setdefault(rest, {}).setdefault(labels, {})[seeds] = run.error()
                averages.setdefault(rest, {}).setdefault(labels, {})[seeds] = run.teacher["error"]
        for number, rest in enumerate(settings):
            row = name + (f", variant {number + 1}" if number else "")
            lines[row] = settings[rest]
            if method == "supervised":
                lines[row + _AVERAGE] = averages[rest]
    rows = {
        row: {labels: mean_and_deviation(list(line[labels].values())) for labels in numbers if labels in line}
        for row, line in lines.items()
    }
    teacher = METHODS["mean_teacher"]
    if f"{teacher}, variant 2" not in lines:
        for row, line in lines.items():
            if row != teacher and teacher in lines:
                paired = {labels: _paired(line.get(labels, {}), lines[teacher].get(labels, {})) for labels in numbers}
                rows[f"{row} − {teacher}{_PAIRED}"] = paired
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(numbers)).fillna("")
    return table.rename(columns=lambda labels: f"{labels} labels")


def _paired(errors, of_teacher):
    """The mean difference over the seeds that both have, and on how many of them the teacher is better."""
    differences = [errors[seeds] - of_teacher[seeds] for seeds in errors if seeds in of_teacher]
    if not differences:
        return ""
    better = sum(difference > 0 for difference in differences)
    return f"{mean_and_deviation(differences)}, {better} above 0"


def all_settings(runs: list[Run]) -> tuple[pd.DataFrame, list[str]]:
    """Returns a row for each setting (what it is, how many runs, errors of both networks), and what is usual.

    A row names the flags in which settings of the same data, labels, method and phase differ, but for values that more
    than half of these settings have: those are said once, in a sentence.
    """
    groups = {}
    for run in runs:
        groups.setdefault(run.setting(), []).append(run)
    kinds = {}
    for group in groups.values():
        kinds.setdefault(_kind(group[0].flags), []).append(group[0].flags)
    varying = {kind: _varying(alike) for kind, alike in kinds.items()}
    usual = {kind: _usual(alike, varying[kind]) for kind, alike in kinds.items()}
    rows = []
    for group in groups.values():
        flags = group[0].flags
        kind = _kind(flags)
        named = {name: short(flags.get(name)) for name in varying[kind]}
        named = {name: value for name, value in named.items() if usual[kind].get(name) != value}
        rows.append(
            {
                "data": flags["dataset"],
                "labels": str(flags["num_labels"]),
                "method": name_of(method_of(flags)),
                "what differs": _listed(named) or "nothing",
                "phase": flags["phase"],
                "steps": f"{group[0].step:,}",
                "student error, %": mean_and_deviation([run.student["error"] for run in group]),
                "teacher error, %": mean_and_deviation([run.teacher["error"] for run in group]),
                "flagfile of the first": str(group[0].path / "flags.cfg"),
            }
        )
        averages = [run.average["error"] for run in group if run.average]
        if averages:
            rows[-1]["second average's error, %"] = mean_and_deviation(averages)
        if group[0].machine:
            rows[-1]["machine of the first"] = group[0].machine
    sentences = [
        f"{dataset}, {labels} labels, {name_of(method)}, {phase}: where nothing else is said, {_listed(values)}."
        for (dataset, labels, method, phase), values in usual.items()
        if values
    ]
    return pd.DataFrame(rows).fillna(""), sentences


def ablation_table(ablations: list[Ablation]) -> pd.DataFrame:
    """Returns a row for each value of what varies: the error, and what else distinguishes these runs."""
    return pd.DataFrame(
        [
            {
                "what varies": ablation.varied,
                "value": value,
                "error, %": mean_and_deviation(errors),
                "at": ablation.setting,
            }
            for ablation in ablations
            for value, errors in ablation.errors.items()
        ]
    )


def _kind(flags):
    return str(flags["dataset"]), str(flags["num_labels"]), method_of(flags), str(flags["phase"])


def _varying(alike):
    """Names of the flags in which settings of one kind differ."""
    names = sorted({name for flags in alike for name in flags} - {*SEEDS, "training_steps"})
    return [name for name in names if len({str(flags.get(name)) for flags in alike}) > 1]


def _usual(alike, varying):
    """The values of varying flags that more than half of the settings have."""
    found = {}
    for name in varying:
        value, count = Counter(short(flags.get(name)) for flags in alike).most_common(1)[0]
        if 2 * count > len(alike):
            found[name] = value
    return found


def _listed(values):
    return ", ".join(f"{name} {value}" for name, value in values.items())
