"""Figures of training curves and of ablations, after Tarvainen & Valpola (2017), figures 3 and 4."""

import itertools

import numpy as np

from keras_mt.experiments import colors
from keras_mt.experiments.reporting.ablations import Ablation
from keras_mt.experiments.reporting.published import CURVES, in_order, method_of, name_of
from keras_mt.experiments.reporting.runs import SEEDS, Run
from keras_mt.experiments.running.curves import label_axes, new_figure

_QUANTITIES = (("classification_cost", "classification cost"), ("error", "error (%)"))
_NETWORKS = (("student", "--"), ("teacher", "-"))
_ACROSS = 3
_CURVES_ACROSS = 3
_MANY_SPLITS = 10


def training_curves(runs: list[Run]):
    """Returns the figure: for each data setting the cost above, the error below; thin lines are single runs.

    Solid lines are the averaged weights (the teacher), dashed ones the student; thick lines are means over the seeds of
    one setting. Runs of the validation phase, which ablations are made of, are drawn if there are no others.

    Args:
        runs: Finished runs with evaluations.
    """
    from matplotlib.lines import Line2D

    settings = {}
    for run in [run for run in runs if run.flags["phase"] == "test"] or runs:
        of_method = settings.setdefault(_data_setting(run.flags), {}).setdefault(method_of(run.flags), {})
        of_method.setdefault(run.setting(), []).append(run)
    used = in_order(method for methods in settings.values() for method in methods)
    color = _colors(used)
    across = min(_CURVES_ACROSS, len(settings))
    down = -(-len(settings) // across)
    figure = new_figure(figsize=(max(7.0, 4.2 * across), 6.4 * down), layout="constrained")
    axes = figure.subplots(2 * down, across, squeeze=False)
    for number, (title, methods) in enumerate(settings.items()):
        above, column = 2 * (number // across), number % across
        for row, (quantity, label) in enumerate(_QUANTITIES):
            axis = axes[above + row][column]
            for method, of_method in methods.items():
                for of_setting in of_method.values():
                    for network, style in _NETWORKS:
                        _draw(axis, of_setting, f"{network}_{quantity}", color[method], style)
            label_axes(axis, label if column == 0 else "")
            axis.set_xlabel("optimizer step" if row == 1 else "")
        axes[above][column].set_title(title, fontsize=11)
    for axis in axes[-2:, len(settings) - across * (down - 1) :].ravel():
        axis.remove()
    handles = [Line2D([], [], color=color[method], linewidth=2, label=name_of(method)) for method in used]
    handles += [
        Line2D([], [], color="gray", linestyle=style, linewidth=2, label=label)
        for (_, style), label in zip(_NETWORKS, ("student", "averaged weights (teacher)"), strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4 if across < 3 else 6))
    return figure


def errors_by_labels(runs: list[Run]):
    """Returns the figure: error against the number of labels, one panel for each data set; None without two numbers.

    Lines are means over seeds, bands one standard deviation to either side, dots single runs.

    Args:
        runs: Finished runs; those of the validation phase are left out.
    """
    panels = {}
    for run in runs:
        if run.flags["phase"] == "test" and str(run.flags["num_labels"]).isdecimal():
            rest = tuple(part for part in run.setting() if part[0] != "num_labels")
            lines = panels.setdefault(run.flags["dataset"], {}).setdefault((method_of(run.flags), rest), {})
            lines.setdefault(int(run.flags["num_labels"]), []).append(run.error())
    panels = {name: {key: line for key, line in of.items() if len(line) > 1} for name, of in panels.items()}
    panels = {name: lines for name, lines in sorted(panels.items()) if lines}
    if not panels:
        return None
    order = in_order(method for lines in panels.values() for method, _ in lines)
    color = _colors(order)
    figure = new_figure(figsize=(5.0 * len(panels), 4.2), layout="constrained")
    for axis, (name, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for (method, _), line in sorted(lines.items(), key=lambda item: order.index(item[0][0])):
            numbers = sorted(line)
            means = np.array([np.mean(line[number]) for number in numbers])
            spread = np.array([np.std(line[number], ddof=1) if len(line[number]) > 1 else 0.0 for number in numbers])
            axis.plot(numbers, means, color=color[method], linewidth=2, label=name_of(method))
            axis.fill_between(numbers, means - spread, means + spread, color=color[method], alpha=0.12, linewidth=0)
            for number in numbers:
                axis.plot([number] * len(line[number]), line[number], "o", color=color[method], markersize=3)
        every = sorted({number for line in lines.values() for number in line})
        axis.set(xscale="log", title=name, xlabel="labels", ylabel="test error (%)", ylim=(0, None))
        axis.set_xticks(every, [str(number) for number in every])
        axis.set_xticks([], minor=True)
        axis.grid(alpha=0.3)
        axis.legend()
    return figure


def errors_by_split(runs: list[Run]):
    """Returns the figure: the error on each split of the labels, in the order of supervised training's.

    A panel for each data set and number of labels where supervised training and another method have run on the same
    splits, at least ten, with one setting each; None if there is none. The dots of a split stand above each other,
    lines are means.

    Args:
        runs: Finished runs; those of the validation phase are left out.
    """
    panels = {}
    for run in runs:
        if run.flags["phase"] == "test":
            panel = panels.setdefault((run.flags["dataset"], str(run.flags["num_labels"])), {})
            of_method = panel.setdefault(method_of(run.flags), {}).setdefault(run.setting(), {})
            of_method[tuple(run.flags[seed] for seed in SEEDS)] = run.error()
    panels = {data: _on_splits(panel) for data, panel in panels.items()}
    panels = {data: errors for data, errors in panels.items() if len(errors) > 1}
    if not panels:
        return None
    figure = new_figure(figsize=(5.0 * len(panels), 3.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, ((dataset, labels), errors) in zip(axes, panels.items(), strict=True):
        supervised = errors["supervised"]
        splits = sorted(supervised, key=lambda seeds: (supervised[seeds], seeds))
        color = _colors(methods := in_order(errors))
        for method in methods:
            dots = [errors[method][seeds] for seeds in splits]
            axis.plot(dots, "o", color=color[method], label=f"{name_of(method)}: {np.mean(dots):.1f} %")
            axis.axhline(np.mean(dots), color=color[method], linewidth=1, alpha=0.6)
        axis.set(title=f"{dataset}, {labels} labels", ylabel="test error (%)", ylim=(0, None), xticks=[])
        axis.set_xlabel(f"{len(splits)} splits into labeled and unlabeled")
        axis.grid(alpha=0.3)
        axis.legend()
    return figure


def errors_by_views(runs: list[Run]):
    """Returns the figure: error over the unlabeled images seen so far, beside a published curve in gray.

    A panel for each number of labels of a data set for which a curve is published, where supervised training and
    another method have run; None if there is none. Lines are means over seeds, horizontal ones supervised training at
    its end; a circle is where a teacher's mean comes down to it to stay.

    Args:
        runs: Finished runs; those of the validation phase are left out, and those whose batches hold as many labeled
            images as they happen to.
    """
    panels = {}
    for run in runs:
        if run.flags["phase"] == "test" and run.flags["dataset"] in CURVES and run.rows:
            panel = panels.setdefault((run.flags["dataset"], str(run.flags["num_labels"])), {})
            panel.setdefault((method_of(run.flags), run.setting()), []).append(run)
    panels = {data: lines for data, panel in panels.items() if len(lines := _over_views(panel)) > 1}
    if not panels:
        return None
    used = in_order(method for lines in panels.values() for method, _, _ in lines)
    color = _colors(used)
    figure = new_figure(figsize=(max(7.0, 5.0 * len(panels)), 4.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, ((dataset, labels), lines) in zip(axes, panels.items(), strict=True):
        curve = CURVES[dataset]
        axis.plot(curve.views, curve.teacher, "-", color="gray", label=f"teacher, {curve.name}")
        axis.plot(curve.views, curve.student, "--", color="gray", linewidth=1, label="its student")
        axis.axhline(curve.supervised, color="gray", linewidth=0.8)
        _mark_crossing(axis, np.array(curve.views), np.array(curve.teacher), curve.supervised, "gray")
        supervised = min(errors["student"][-1] for _, views, errors in lines if views is None)
        for method, views, errors in lines:
            if views is None:
                label = f"{name_of(method)}, at the end: {errors['student'][-1]:.1f} %"
                axis.axhline(errors["student"][-1], color=color[method], linewidth=1.2, label=label)
                continue
            label = f"{name_of(method)}, teacher: {errors['teacher'][-1]:.1f} %"
            axis.plot(views, errors["teacher"], "-", color=color[method], linewidth=2, label=label)
            axis.plot(views, errors["student"], "--", color=color[method], linewidth=1, label="its student")
            _mark_crossing(axis, views, errors["teacher"], supervised, color[method])
        label_axes(axis, "test error (%)")
        axis.set(xscale="log", title=f"{dataset}, {labels} labels", xlabel="unlabeled images seen, repeats counted")
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.legend(fontsize=8, loc="upper right")
    return figure


def _over_views(panel):
    """Returns the lines of a panel as `(method, views, errors by network)`, supervised training with None for views."""
    lines = []
    for (method, _), runs in sorted(panel.items(), key=lambda item: (item[0][0] != "supervised", item[0][0])):
        flags, steps = runs[0].flags, {tuple(row["step"] for row in run.rows) for run in runs}
        supervised = flags["method"] == "supervised"
        if len(steps) > 1 or not (supervised or str(flags["labeled_per_batch"]).isdecimal()):
            continue
        errors = {
            network: np.mean([[row[f"{network}_error"] for row in run.rows] for run in runs], axis=0)
            for network, _ in _NETWORKS
        }
        unlabeled = None if supervised else flags["batch_size"] - int(flags["labeled_per_batch"])
        lines.append((method, None if supervised else np.array(steps.pop()) * unlabeled, errors))
    return lines if lines and lines[0][1] is None else []


def _mark_crossing(axis, views, errors, supervised, color):
    """Draws a circle where a curve comes down to a height to stay, if it does."""
    above = np.flatnonzero(errors > supervised)
    after = above[-1] + 1 if len(above) else 0
    if after < len(errors):
        axis.plot(views[after], errors[after], "o", color=color, markersize=9, fillstyle="none")


def _on_splits(panel):
    """The errors of each method by the seeds of a run, if it has one setting and supervised training's seeds."""
    single = {method: next(iter(settings.values())) for method, settings in panel.items() if len(settings) == 1}
    wanted = set(single.get("supervised", ()))
    if len({data_seed for _, data_seed in wanted}) < max(_MANY_SPLITS, len(wanted)):
        return {}
    return {method: errors for method, errors in single.items() if set(errors) == wanted}


def _colors(methods):
    """A color for each method: its own, or the next that is free."""
    others = itertools.cycle(colors.OTHERS)
    return {method: colors.METHODS.get(method) or next(others) for method in methods}


def _data_setting(flags):
    images = f", {flags['num_extra_unlabeled']:,} extra images" if flags.get("num_extra_unlabeled") else ""
    phase = ", validation phase" if flags["phase"] == "validation" else ""
    return f"{flags['dataset']}, {flags['num_labels']} labels{images}{phase}"


def _draw(axis, runs, name, color, style):
    lines = [[(row["step"], row[name]) for row in run.rows if name in row] for run in runs]
    lines = [np.array(line, "float64") for line in lines if line]
    for line in lines:
        line[line[:, 1] == 0, 1] = np.nan  # A logarithmic axis has no place for it.
    for line in lines:
        axis.plot(line[:, 0], line[:, 1], style, color=color, linewidth=0.7, alpha=0.35 if len(lines) > 1 else 1.0)
    steps = {tuple(line[:, 0]) for line in lines}
    if len(steps) == 1:  # A mean of runs that were evaluated at other steps would jump.
        mean = np.mean([line[:, 1] for line in lines], axis=0)
        axis.plot(lines[0][:, 0], mean, style, color=color, linewidth=2, marker="o" if len(mean) < 3 else None)


def ablation_figure(ablations: list[Ablation]):
    """Returns the figure: error against the varied value, one dot a run, a line through the medians.

    Args:
        ablations: One panel each.
    """
    across = min(_ACROSS, len(ablations))
    down = -(-len(ablations) // across)
    figure = new_figure(figsize=(4.6 * across, 3.9 * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for axis in axes[len(ablations) :]:
        axis.remove()
    for axis, ablation in zip(axes, ablations, strict=False):
        # Values are spread evenly: the published grids are geometric, but for zeros, which a logarithm can't place.
        places = range(len(ablation.errors))
        for place, errors in zip(places, ablation.errors.values(), strict=True):
            axis.plot([place] * len(errors), errors, "o", color=colors.TEACHER, markersize=6, alpha=0.5)
        axis.plot(places, [np.median(errors) for errors in ablation.errors.values()], color=colors.TEACHER, linewidth=2)
        label_axes(axis, "error (%)")
        texts = list(ablation.errors)
        slanted = {"rotation": 30, "ha": "right"} if len(texts) > 4 and max(map(len, texts)) > 4 else {}
        axis.set_xticks(list(places), texts, **slanted)
        axis.set_xlabel(ablation.varied)
        if ablation.setting:
            axis.set_title(ablation.setting, fontsize=9, wrap=True)
        _widen(axis, [error for errors in ablation.errors.values() for error in errors])
    return figure


def _widen(axis, errors):
    """Leaves room for at least one labeled tick above and below."""
    low, high = max(min(errors), 1e-3), max(errors)
    axis.set_ylim(low / 1.5, high * 1.5)
