"""Evaluates what a run saved: `python -m keras_mt.evaluate --run_dir=runs/digits_50`."""

import math
from pathlib import Path

from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.running import experiment, lengths, program, settings
from keras_mt.experiments.running.cluster import Cluster
from keras_mt.experiments.running.run_directory import RunDirectory
from keras_mt.experiments.running.settings import FLAGS
from keras_mt.experiments.running.workers import Workers


def main() -> None:
    if not FLAGS.run_dir:
        raise UsageError("--run_dir is missing; name the folder of a run")
    run = RunDirectory(FLAGS.run_dir)
    if not run.flagfile.exists():
        raise UsageError(f"--run_dir={run.path} holds no run: {run.flagfile.name} is missing")
    _adopt_flags(run.flagfile)

    data = experiment.load_data()
    run_lengths = lengths.of_the_run(data)
    model = experiment.build_model(data, run_lengths)
    alone = Workers(Cluster(), timeout=math.inf)
    step = experiment.checkpoints(run.checkpoints, model, run_lengths, alone).restore()
    if step == 0:
        raise RunError(f"--run_dir={run.path} holds no checkpoint yet")
    with experiment.broken_images_named(data, lambda: step):
        results = model.evaluate(data.evaluation_batches(), verbose=0, return_dict=True)
    print(
        f"step {step}, {len(data.evaluation_labels)} images ({FLAGS.phase} phase): student "
        f"{100 * results['student_error']:.2f} %, teacher {100 * results['teacher_error']:.2f} % error"
    )


def _adopt_flags(flagfile: Path) -> None:
    """Takes the run's flags, except for those given on the command line, and for where to write: it may be sent."""
    cache_dir = FLAGS.cache_dir
    given = [FLAGS[name].serialize() for name in settings.names() if FLAGS[name].present]
    FLAGS.unparse_flags()
    FLAGS(["evaluate", f"--flagfile={flagfile}", *filter(None, given)])
    FLAGS.cache_dir = cache_dir


if __name__ == "__main__":
    settings.define()
    program.run(main)
