"""Evaluates what a run saved."""

import math

from keras_mt.experiments.config import Config
from keras_mt.experiments.errors import RunError
from keras_mt.experiments.running import experiment
from keras_mt.experiments.running.cluster import Cluster
from keras_mt.experiments.running.evaluation_rows import errors_in_words
from keras_mt.experiments.running.lengths import lengths_of
from keras_mt.experiments.running.run_directory import RunDirectory
from keras_mt.experiments.running.workers import Workers


def main(config: Config, run: RunDirectory) -> None:
    """Prints the errors of a run's newest checkpoint.

    Args:
        config: The run's configuration.
        run: Its folder.
    """
    data = experiment.load_data(config)
    lengths = lengths_of(config, data.num_examples, len(data.labeled))
    model = experiment.build_model(config, data, lengths)
    alone = Workers(Cluster(), timeout=math.inf)
    step = experiment.checkpoints(config, data, run.checkpoints, model, lengths, alone).restore(read_only=True)
    if step == 0:
        raise RunError(f"--run_dir={run.path} holds no checkpoint yet")
    with experiment.broken_images_named(config, data, lambda: step):
        results = model.evaluate(data.evaluation_batches(), verbose=0, return_dict=True)
    errors = errors_in_words({name: 100 * value for name, value in results.items()})
    print(f"step {step}, {len(data.evaluation_labels)} images ({config.phase} phase): {errors} error")
