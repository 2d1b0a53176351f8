"""Trains an experiment: data, model, optimizer, restored state, training with evaluations, export and results.

The same command given again continues the run from its newest checkpoint.
"""

import shlex
from collections.abc import Set

import tensorflow as tf

from keras_mt.distribution import distributed
from keras_mt.experiments import checks
from keras_mt.experiments.config import Config
from keras_mt.experiments.errors import RunError
from keras_mt.experiments.exporting.saved_model import check_replaceable, export_saved_model
from keras_mt.experiments.running import chance, curves, experiment, machine, saved_networks, strategy
from keras_mt.experiments.running.cluster import Cluster
from keras_mt.experiments.running.evaluation_log import EvaluationLog
from keras_mt.experiments.running.evaluation_rows import NETWORKS, errors_in_words
from keras_mt.experiments.running.lengths import lengths_of
from keras_mt.experiments.running.progress import ProgressBar
from keras_mt.experiments.running.results import published_network, results_of
from keras_mt.experiments.running.run_directory import RunDirectory
from keras_mt.experiments.running.safeguards import Interruption, LossWatch
from keras_mt.experiments.running.workers import Workers


def main(config: Config, typed: Set[str], cluster: Cluster, run: RunDirectory) -> None:
    """Trains an experiment in its folder.

    Args:
        config: The experiment.
        typed: Names of the flags on the command line itself; see `checks.check_ramp`.
        cluster: The workers of the run.
        run: Its folder, claimed by the chief.
    """
    workers = Workers(cluster, config.worker_timeout)
    with run, workers.watched():
        devices = strategy.make_strategy(config, cluster)
        workers.started()
        _train(config, typed, run, devices, workers)
        workers.barrier()  # Who ends first would look gone to those who still write.


def _train(config, typed, run, devices, workers):
    data = experiment.load_data(config)
    lengths = lengths_of(config, data.num_examples, len(data.labeled))
    ramp = "rampup_steps" if config.rampup_epochs is None else "rampup_epochs"
    checks.check_ramp(config, ramp, lengths.rampup, lengths.training, typed)
    checks.check_ramp(config, "rampdown_steps", lengths.rampdown, lengths.training, typed)
    checks.check_ramp(config, "learning_rate_rampup_epochs", lengths.learning_rate_rampup, lengths.training, typed)
    checks.check_cosine(config, lengths.cosine, lengths.training)
    checks.check_starts(config, lengths.rampup, lengths.training, typed)
    with devices.scope():
        here = {**config.identity(), "training data": data.fingerprint(), "data": data.details, **machine.versions()}
        workers.check_same({**here, "oneDNN": machine.machine()["oneDNN"]})
        model = experiment.build_model(config, data, lengths)
    if workers.is_chief:
        check_replaceable(run.exported_teacher)  # Now, not days later.
        run.create(config)

    checkpoints = experiment.checkpoints(config, data, run.checkpoints, model, lengths, workers)
    with devices.scope():
        step = checkpoints.restore()
    if workers.is_chief:
        saved_networks.describe(run, model, data, step)

    schedules = experiment.mean_teacher_callback(config, lengths)
    schedules.set_model(model)
    interruption = Interruption(checkpoints, workers)
    callbacks = [schedules, LossWatch(checkpoints), checkpoints, interruption, workers]
    if workers.is_chief:
        print(_describe(config, data, schedules, step, lengths.training), flush=True)
        by_chance = chance.chance_of(data.evaluation_labels)
        rate = experiment.learning_rate(config, lengths)
        log = EvaluationLog(run.evaluations, run.events, step, lengths.training, rate, by_chance)
        callbacks = [*callbacks[:2], log, *callbacks[2:], ProgressBar(step, lengths.training)]
    named = experiment.broken_images_named(config, data, lambda: int(model.batches_seen.numpy()))
    with interruption, named, devices.scope():
        _fit(config, model, data, step, lengths.training, callbacks)
    if workers.is_chief:
        earlier = results_of(run.results, config.identity()) if step == lengths.training else None
        _conclude(config, run, data, model, log, lengths.training, _trained_by(devices, log, earlier))


def _fit(config, model, data, step, last_step, callbacks):
    evaluation = distributed(data.evaluation_batches)
    for steps, epochs in _epochs(step, config.evaluation_steps, last_step):
        model.fit(
            experiment.batches(config, data, step),
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


def _trained_by(devices, log, earlier):
    """What computed the steps; of a run that had made all before, what its results say, and not this machine."""
    found = {
        "replicas": devices.num_replicas_in_sync,
        "seconds_per_step": log.seconds_per_step(),
        "machine": machine.machine(),
        "versions": machine.versions(),
    }
    if earlier is not None:
        found = {name: earlier.get(name) for name in found}
    return {name: value for name, value in found.items() if value is not None}


def _conclude(config, run, data, model, log, last_step, trained_by):
    if not log.rows or log.rows[-1]["step"] != last_step:
        raise RunError(f"{run.evaluations} lacks the evaluation of step {last_step}; keras_mt.evaluate repeats it")
    export_saved_model(model.predictor, run.exported_teacher, data.class_names, replace=True)
    title = f"{config.dataset}, {len(data.labeled)} labels, {config.method}"
    curves.draw_curves(log.rows, run.curves, title)
    last = log.rows[-1]
    run.write_results(
        {
            "step": last_step,
            **{network: _errors(last, network) for network in NETWORKS if f"{network}_error" in last},
            "lowest_teacher_error": _lowest(log.rows),
            "num_labels": len(data.labeled),
            "method": config.method,
            "data": data.origin,
            "chance": chance.chance_of(data.evaluation_labels),
            "experiment": config.fingerprint(),
            "flags": config.identity(),
            **trained_by,
        }
    )
    print(f"{title}: {errors_in_words(last)} error after {last_step} steps; results in {run.path}")
    error = last[f"{published_network(config.method, 'average_error' in last)}_error"]
    if chance.no_better(error, chance.chance_of(data.evaluation_labels)):
        print(f"note: {chance.sentence(error, chance.chance_of(data.evaluation_labels))}")
    print(_what_next(run))


def _what_next(run):
    folder, events = shlex.quote(f"--run_dir={run.path}"), shlex.quote(str(run.events))
    return (
        f"next:\n  curves    {run.curves}; all that was logged: tensorboard --logdir {events}\n"
        f"  pictures  python -m keras_mt.predict {folder} PICTURES...\n"
        f"  serving   python -m keras_mt.export {folder} --format=saved_model"
    )


def _errors(row, network):
    """All errors of a network in an evaluation, by their names."""
    return {name: row[f"{network}_{name}"] for name in ("error", "top5_error") if f"{network}_{name}" in row}


def _lowest(rows):
    """The best evaluation and its step: to look at, not to report, since it was chosen on the evaluation images."""
    best = min(rows, key=lambda row: row["teacher_error"])
    return {"step": best["step"], "error": best["teacher_error"]}


def _in_words(class_names):
    few = [*class_names[:3], "...", class_names[-1]] if len(class_names) > 5 else class_names
    return f"{len(class_names)} classes: {', '.join(few)}"


def _describe(config, data, schedules, step, last_step):
    start = f"continues at step {step}" if step else "starts"
    few = f"{config.labeled_per_batch} of {config.batch_size}"
    return (
        f"{config.dataset}: {len(data.labeled)} labeled of {data.num_examples} training examples, "
        f"{len(data.evaluation_labels)} to evaluate on ({config.phase} phase); {_in_words(data.class_names)}; "
        f"labeled per batch: {few}\n{schedules.describe()}\n{start}, {last_step} "
        "steps in all"
    )
