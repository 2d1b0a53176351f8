"""Reports on finished runs: `python -m keras_mt.report --runs=runs/svhn --output=report`.

Reads all run directories in and below the folders of --runs, which can be given several times, and writes the paper's
tables with the published figures beside them, training curves and ablations: `report.md`, `report.html` (one page with
the figures inside) and the figures as PNG.
"""

from pathlib import Path

from absl import flags

from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.running import program

FLAGS = flags.FLAGS


def define() -> None:
    """Defines the flags of the program."""
    flags.DEFINE_multi_string("runs", [], "Folder with run directories in or below it; may be given several times.")
    flags.DEFINE_string("output", "report", "Folder to write the report to.")
    flags.DEFINE_string("name", "report", "What the names of the report's files begin with.")
    flags.DEFINE_string("introduction", None, "Text file whose paragraphs stand at the head of the report.")


def main() -> None:
    from keras_mt.experiments.reporting import page, runs

    if not FLAGS.runs:
        raise UsageError("--runs is missing; name a folder of runs")
    output = Path(FLAGS.output)
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output={output} is a file; name a folder")
    finished, unfinished = runs.read_runs(FLAGS.runs)
    if not finished:
        raise RunError(f"--runs={', '.join(FLAGS.runs)} holds no finished run; unfinished: {', '.join(unfinished)}")
    page.write_report(finished, unfinished, output, FLAGS.name, _introduction())
    print(f"{len(finished)} runs, {len(unfinished)} unfinished: {output / FLAGS.name}.md, {output / FLAGS.name}.html")


def _introduction():
    if FLAGS.introduction is None:
        return ()
    try:
        return tuple(" ".join(part.split()) for part in Path(FLAGS.introduction).read_text().split("\n\n"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise UsageError(
            f"--introduction={FLAGS.introduction} can't be read ({reason}); a text file is needed"
        ) from error


if __name__ == "__main__":
    define()
    program.run(main)
