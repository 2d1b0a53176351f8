"""The report as Markdown and as one HTML page."""

import base64
import html
import io
import re
from pathlib import Path

from PIL import Image

from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.reading import DamagedFileError, read_text
from keras_mt.experiments.reporting import ablations, figures, tables
from keras_mt.experiments.reporting.markdown import escaped, picture
from keras_mt.experiments.reporting.published import CURVES, TABLES
from keras_mt.experiments.reporting.runs import Run
from keras_mt.experiments.running.chance import no_better, sentence
from keras_mt.experiments.running.run_directory import write_atomically

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 14px; }
th, td { border-bottom: 1px solid #ccc; padding: .35rem .8rem; text-align: left; vertical-align: top; }
thead th { border-bottom: 2px solid #222; }
img { max-width: 100%; }
.remark { border-left: 4px solid #E69F00; padding-left: .8rem; }
"""
_HOW_TO_READ = (
    "Errors are in percent after the last step, mean ± standard deviation over seeds: of the teacher for Mean Teacher, "
    "of the student for the other methods. Published figures stand in rows of their own; "
    "the lowest of a column's errors here is bold."
)
_TITLE = "Mean Teacher: results"
_HTML_TITLE = "<title>keras_mt report</title>"
# Figures of errors: end of the file's name, heading, function, caption, and words after it.
_FIGURES = (
    (
        "splits", "Error on each split", figures.errors_by_split,
        "Error on each split into labeled and unlabeled examples; lines are means", "",
    ),
    (
        "views", "Error over unlabeled images", figures.errors_by_views,
        "Error over the unlabeled images seen; a circle is where a teacher reaches supervised training's to stay",
        "The gray curve ("
        + "; ".join(f"{curve.name}: {curve.source}; supervised {curve.supervised} %" for curve in CURVES.values())
        + ") is another experiment, to compare the shapes with.",
    ),
    (
        "labels", "Error against the number of labels", figures.errors_by_labels,
        "Error against the number of labels: means over seeds, bands of one standard deviation, dots single runs", "",
    ),
)  # fmt: skip
_DOTS_PER_INCH = 100
_MOST_PANELS = 30  # All ablations of Tarvainen & Valpola (2017) together have 23.


def write_report(
    runs: list[Run],
    unfinished: list[str],
    folder: Path,
    name: str = "report",
    introduction: tuple[str, ...] = (),
    *,
    force: bool = False,
) -> None:
    """Writes `NAME.md`, `NAME.html` and the figures as PNG.

    Args:
        runs: Finished runs.
        unfinished: Paths of runs that are not in the tables.
        folder: Where to write; made if it is missing.
        name: What the files' names begin with.
        introduction: Paragraphs at its head, in Markdown.
        force: Whether files may be replaced that no report wrote.

    Raises:
        UsageError: If there are such files.
        RunError: If the report can't be written.
    """
    files = _rendered(runs, unfinished, name, introduction)
    foreign = [] if force else [path for path in (folder / file for file in files) if _is_foreign(path, folder, name)]
    if foreign:
        raise UsageError(f"{foreign[0]} was written by no report; name another --output or --name, or give --force")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            write_atomically(folder / file, content)
    except OSError as error:
        raise RunError(f"--output={folder} can't be written ({error.strerror})") from error


def _is_foreign(path, folder, name):
    """Whether a file is there that no report wrote. Figures are a report's if its page shows them."""
    if not path.exists():
        return False
    page = path if path.suffix != ".png" else folder / f"{name}.md"
    try:
        text = read_text(page)
    except DamagedFileError:
        return True
    if page.suffix == ".html":
        return _HTML_TITLE not in text
    return not text.startswith(f"# {_TITLE}\n") or (
        page != path and picture("", path.name).removeprefix("![") not in text
    )


def _rendered(runs, unfinished, name, introduction):
    """Returns text or bytes by the name of the file, the page first: a figure is told to be its own by it."""
    markdown, page, pictures = [], [], {}
    for kind, text, content in _parts(runs, unfinished, introduction):
        if kind == "heading":
            markdown.append(f"{'#' * content} {escaped(text)}")
            page.append(f"<h{content}>{html.escape(text)}</h{content}>")
        elif kind == "own words":
            markdown.append(text)
            page.append(f"<p>{html.escape(text)}</p>")
        elif kind == "text":
            markdown.append(escaped(text))
            page.append(f"<p>{html.escape(text)}</p>")
        elif kind == "remark":
            markdown.append(f"> {escaped(text)}")
            page.append(f'<p class="remark">{html.escape(text)}</p>')
        elif kind == "table":
            best = tables.best(content) if text == "index" else set()
            markdown.append(_markdown_table(content, text == "index", best))
            page.append(_html_table(content, text == "index", best))
        else:
            file = f"{name}_{kind}.png"
            pictures[file] = _small_png(content)
            markdown.append(picture(text, file))
            encoded = base64.b64encode(pictures[file]).decode()
            page.append(f'<img alt="{html.escape(text)}" src="data:image/png;base64,{encoded}">')
    head = f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{_HTML_TITLE}<style>{_STYLE}'
    return {
        f"{name}.md": "\n\n".join(markdown) + "\n",
        f"{name}.html": "\n".join([f"{head}</style></head><body>", *page, "</body></html>\n"]),
        **pictures,
    }


def _parts(runs, unfinished, introduction):
    """Yields `(kind, text, content)` in the order of the page."""
    yield "heading", _TITLE, 1
    for sentence_of_data in tables.headlines(runs):
        yield "text", sentence_of_data, None
    for paragraph in introduction:
        yield "own words", paragraph, None
    yield "text", _HOW_TO_READ, None
    if unfinished:
        yield "remark", f"Not in the tables, since they are unfinished: {', '.join(unfinished)}.", None
    for run in runs:
        if run.copies:
            copies = ", ".join(map(str, run.copies))
            yield "remark", f"{run.path} is counted once; the same run is in {copies}.", None
        if run.chance and no_better(run.error(), run.chance):
            yield "remark", f"{run.path}: {sentence(run.error(), run.chance)}.", None
    for title, table, remarks in tables.published_tables(runs):
        yield "heading", title, 2
        for remark in remarks:
            yield "remark", remark, None
        yield "table", "index", table
    for dataset, table in tables.by_labels(runs):
        yield "heading", f"{dataset}: test error by the number of labels", 2
        yield "remark", _not_published(), None
        yield "table", "index", table
    for kind, heading, draw, caption, words in _FIGURES:
        figure = draw(runs)
        if figure:
            yield "heading", heading, 2
            yield kind, caption, figure
            if words:
                yield "text", words, None
    yield "heading", "All settings", 2
    settings, usual = tables.all_settings(runs)
    for shared in usual:
        yield "text", shared, None
    yield "table", "", settings
    of_tables = [run for run in runs if run.rows]
    if of_tables:
        yield "heading", "Training curves", 2
        for dataset in (datasets := sorted({run.flags["dataset"] for run in of_tables})):
            caption = f"{dataset}: classification cost and, below it, error over optimizer steps"
            # Names of TensorFlow Datasets hold `/` and `:`.
            name = "training_curves" + (re.sub(r"\W", "_", f"_{dataset}") if len(datasets) > 1 else "")
            own = [run for run in of_tables if run.flags["dataset"] == dataset]
            yield name, caption, figures.training_curves(own)
    found = ablations.find_ablations(runs)
    if len(found) > _MOST_PANELS:
        yield "heading", "Ablations", 2
        yield "text", f"{len(found)} sets of runs differ in one thing only, too many for a figure.", None
    elif found:
        yield "heading", "Ablations", 2
        yield "text", "One dot a run; the line goes through the medians.", None
        yield "ablations", "Error against the value that varies", figures.ablation_figure(found)
        yield "table", "", tables.ablation_table(found)


def _markdown_table(table, index, best):
    rows = _marked(table, index, best, escaped, "**{}**")
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])


def _html_table(table, index, best):
    head, *rows = _marked(table, index, best, html.escape, "<b>{}</b>")
    lines = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    head = "<thead><tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr></thead>"
    return "\n".join(["<table>", head, "<tbody>", *lines, "</tbody>", "</table>"])


def _marked(table, index, best, text, bold):
    """Returns the rows of a table as texts, its head first, the best cells bold."""
    rows = [[*([""] if index else []), *map(text, table.columns)]]
    for name, cells in zip(table.index, table.astype(str).values.tolist(), strict=True):
        marked = [
            bold.format(text(cell)) if (name, column) in best else text(cell)
            for column, cell in zip(table.columns, cells, strict=True)
        ]
        rows.append([*([text(name)] if index else []), *marked])
    return rows


def _small_png(figure):
    """Returns a figure as a PNG of few colors, which for lines is a third of the bytes."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_DOTS_PER_INCH)
    Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


def _not_published():
    """Says of experiments without a published error what Tarvainen & Valpola (2017) report at full size."""

    def mean(method, dataset, labels):
        first = next(table for table in TABLES if table.where["dataset"] == dataset)  # The 13-layer ConvNet's.
        return first.figures[method][labels].partition(" ")[0]

    return (
        "No error is published for these experiments: data, network, settings and length are ours. At full size "
        "Tarvainen & Valpola (2017) report errors of Mean Teacher of "
        f"{mean('mean_teacher', 'svhn_cropped', '250')} % (SVHN, 250 labels; "
        f"supervised {mean('supervised', 'svhn_cropped', '250')} %) and {mean('mean_teacher', 'cifar10', '1000')} % "
        f"(CIFAR-10, 1,000 labels; supervised {mean('supervised', 'cifar10', '1000')} %): these are different "
        "experiments."
    )
