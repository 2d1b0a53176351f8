"""Draws the training curves: classification cost and error of student and teacher over the steps."""

import io
from pathlib import Path

from keras_mt.experiments import colors
from keras_mt.experiments.running.run_directory import write_atomically


def new_figure(**options):
    """Returns a figure of matplotlib in which text is drawn as it is: a `$` begins no formula."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["text.parse_math"] = False
    return Figure(**options)


def label_axes(axis, label: str) -> None:
    """Gives a plot over optimizer steps, drawn already, its labels and a logarithmic vertical axis that can be read."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set(yscale="log", xlabel="optimizer step", ylabel=label)
    lowest, highest = axis.get_ylim()
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if highest > 10 * lowest else range(1, 10)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.3)


def draw_curves(rows: list[dict], path: Path, title: str) -> None:
    """Draws the evaluations of a run, after Tarvainen & Valpola (2017), figure 3.

    Args:
        rows: Rows of the evaluations CSV.
        path: The PNG file to write, atomically.
        title: Title of the figure.

    Raises:
        RunError: If it can't be written; what was there is kept.
    """
    figure = new_figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    steps = [row["step"] for row in rows]
    for axis, quantity, label in zip(
        axes, ("classification_cost", "error"), ("classification cost", "error (%)"), strict=True
    ):
        for network, color in colors.NETWORKS.items():
            name = f"{network}_{quantity}"
            if name in rows[0]:
                values = [row[name] for row in rows]
                axis.plot(steps, values, color=color, label=network, marker="o" if len(steps) < 3 else None)
        label_axes(axis, label)
        axis.legend()
    figure.suptitle(title)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_atomically(path, picture.getvalue())
