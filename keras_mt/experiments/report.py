"""Reports on finished runs: `report.md`, `report.html` (one page with the figures inside) and the figures as PNG.

Holds the tables of Tarvainen & Valpola (2017) with the published figures beside them, training curves and ablations.
"""

from collections.abc import Sequence
from pathlib import Path

from keras_mt.experiments.commands import ReportOptions
from keras_mt.experiments.errors import RunError
from keras_mt.experiments.reporting import page, runs


def main(options: ReportOptions, introduction: Sequence[str]) -> None:
    """Writes the report.

    Args:
        options: What is asked for.
        introduction: Paragraphs at the head of the report.
    """
    finished, unfinished = runs.read_runs(options.runs)
    if not finished:
        raise RunError(f"--runs={', '.join(options.runs)} holds no finished run; unfinished: {', '.join(unfinished)}")
    output = Path(options.output)
    page.write_report(finished, unfinished, output, options.name, introduction, force=options.force)
    print(
        f"{len(finished)} runs, {len(unfinished)} unfinished: {output / options.name}.md, {output / options.name}.html"
    )
