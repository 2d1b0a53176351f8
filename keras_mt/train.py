"""Trains one experiment: `python -m keras_mt.train --flagfile=flags/digits_50.cfg --run_dir=runs/digits_50`.

The same command given again continues the run from its newest checkpoint.
"""

import platform

import keras
import tensorflow as tf

import keras_mt
from keras_mt.distribution import distributed
from keras_mt.experiments.errors import RunError
from keras_mt.experiments.exporting.saved_model import export_saved_model
from keras_mt.experiments.running import (
    checks,
    curves,
    experiment,
    lengths,
    program,
    saved_networks,
    settings,
    strategy,
)
from keras_mt.experiments.running.evaluation_log import EvaluationLog
from keras_mt.experiments.running.progress import ProgressBar
from keras_mt.experiments.running.run_directory import RunDirectory
from keras_mt.experiments.running.safeguards import Interruption, LossWatch
from keras_mt.experiments.running.settings import FLAGS
from keras_mt.experiments.running.workers import Workers


def main() -> None:
    checks.check()
    workers = Workers(strategy.read_cluster(), FLAGS.worker_timeout)
    run = RunDirectory(FLAGS.run_dir)
    if workers.is_chief:
        run.check()
        if run.flagfile.exists():
            run.claim()
    with workers.watched():
        devices = strategy.make_strategy(workers.cluster)
        workers.started()
        _train(run, devices, workers)
        workers.largest(0)  # Who ends first would look gone to those who still write.


def _train(run, devices, workers):
    data = experiment.load_data()
    run_lengths = lengths.of_the_run(data)
    with devices.scope():
        workers.check_same({**settings.of_the_experiment(), "training data": data.fingerprint(), **versions()})
        model = experiment.build_model(data, run_lengths)
    if workers.is_chief:
        run.create()
        saved_networks.describe(run, model, data)
    last_step = run_lengths.training
    checkpoints = experiment.checkpoints(run.checkpoints, model, run_lengths, workers)
    with devices.scope():
        step = checkpoints.restore()

    schedules = experiment.mean_teacher_callback(run_lengths)
    schedules.set_model(model)
    interruption = Interruption(checkpoints, workers)
    callbacks = [schedules, LossWatch(checkpoints), checkpoints, interruption, workers]
    if workers.is_chief:
        print(_describe(data, schedules, step, last_step), flush=True)
        log = EvaluationLog(run.evaluations, run.events, step, last_step)
        callbacks = [*callbacks[:2], log, *callbacks[2:], ProgressBar(step, last_step)]
    named = experiment.broken_images_named(data, lambda: int(model.batches_seen.numpy()))
    with interruption, named, devices.scope():
        _fit(model, data, step, last_step, callbacks)
    if workers.is_chief:
        _conclude(run, data, model, log, last_step, devices.num_replicas_in_sync)


def _conclude(run, data, model, log, last_step, replicas):
    if not log.rows or log.rows[-1]["step"] != last_step:
        raise RunError(f"{run.evaluations} lacks the evaluation of step {last_step}; keras_mt.evaluate repeats it")
    export_saved_model(model.teacher, run.exported_teacher, data.class_names)
    title = f"{FLAGS.dataset}, {len(data.labeled)} labels, {FLAGS.method}"
    curves.draw_curves(log.rows, run.curves, title)
    last = log.rows[-1]
    run.write_results(
        {
            "step": last_step,
            "student": _errors(last, "student"),
            "teacher": _errors(last, "teacher"),
            "lowest_teacher_error": _lowest(log.rows),
            "num_labels": len(data.labeled),
            "method": FLAGS.method,
            "data": data.origin,
            "replicas": replicas,
            "flags": settings.of_the_experiment(),
            "versions": versions(),
        }
    )
    print(
        f"{title}: student {last['student_error']:.2f} %, teacher {last['teacher_error']:.2f} % error after "
        f"{last_step} steps; results in {run.path}"
    )


def _fit(model, data, step, last_step, callbacks):
    evaluation = distributed(data.evaluation_batches)
    for steps, epochs in _epochs(step, FLAGS.evaluation_steps, last_step):
        model.fit(
            experiment.batches(data, step),
            steps_per_epoch=steps,
            epochs=epochs,
            validation_data=evaluation,
            validation_steps=data.evaluation_steps(tf.distribute.get_strategy().num_replicas_in_sync),
            callbacks=callbacks,
            shuffle=False,  # The batches are.
            verbose=0,
        )
        step += steps * epochs


def _epochs(step, interval, last):
    """Yields `(steps, epochs)` from one evaluation to the next: the rest of an epoch, whole ones, a short last one."""
    if step % interval and step < last:
        steps = min(interval - step % interval, last - step)
        yield steps, 1
        step += steps
    if last - step >= interval:
        yield interval, (last - step) // interval
        step = last - (last - step) % interval
    if step < last:
        yield last - step, 1


def _errors(row, network):
    """All errors of a network in an evaluation, by their names."""
    return {name: row[f"{network}_{name}"] for name in ("error", "top5_error") if f"{network}_{name}" in row}


def _lowest(rows):
    """The best evaluation and its step: to look at, not to report, since it was chosen on the evaluation images."""
    best = min(rows, key=lambda row: row["teacher_error"])
    return {"step": best["step"], "error": best["teacher_error"]}


def _describe(data, schedules, step, last_step):
    start = f"continues at step {step}" if step else "starts"
    return (
        f"{FLAGS.dataset}: {len(data.labeled)} labeled of {data.num_examples} training examples, "
        f"{len(data.evaluation_labels)} to evaluate on ({FLAGS.phase} phase); labeled per batch: "
        f"{FLAGS.labeled_per_batch} of {FLAGS.batch_size}\n{schedules.describe()}\n{start}, {last_step} "
        "steps in all"
    )


def versions() -> dict[str, str]:
    """Returns the versions of what computed a result."""
    return {
        "keras_mt": keras_mt.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    settings.define()
    program.run(main)
