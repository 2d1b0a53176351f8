"""Lengths of a run in optimizer steps, from options that may be in epochs of its data."""

import dataclasses

from keras_mt.experiments.config import DEFAULT_STEPS, Config
from keras_mt.experiments.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Lengths:
    """All in optimizer steps.

    Attributes:
        training: The whole run.
        rampup: Ramp-up of the consistency weight (and of the sigmoid learning rate).
        rampdown: Ramp-down of the sigmoid learning rate.
        cosine: Where the cosine learning rate reaches 0.
        learning_rate_rampup: Linear warm-up before the cosine.
    """

    training: int
    rampup: int
    rampdown: int
    cosine: int
    learning_rate_rampup: int


def lengths_of(config: Config, num_examples: int, num_labeled: int) -> Lengths:
    """Returns the lengths of a run.

    An epoch is one pass of the stream of unlabeled examples, labeled ones repeat in it (Tarvainen & Valpola, 2017,
    appendix B.3); where batches have a single stream, it is one pass of that.

    Args:
        config: The experiment.
        num_examples: Number of its training examples.
        num_labeled: How many of them are labeled.

    Raises:
        UsageError: If there is no example to make epochs of.
    """
    labeled = config.labeled
    if labeled == "all" or labeled == config.batch_size:
        size, drawn = num_labeled, config.batch_size
    elif labeled == "vary":
        size, drawn = num_examples, config.batch_size
    else:
        size, drawn = num_examples, config.batch_size - labeled
        if config.unlabeled_stream == "unlabeled":
            size -= num_labeled
            if not size:
                raise UsageError(
                    "--unlabeled_stream=unlabeled needs examples without a label; "
                    f"--num_labels={config.num_labels} leaves none"
                )

    def steps(epochs):
        return round(epochs * size / drawn)

    epochs = config.training_epochs
    return Lengths(
        training=config.training_steps or (DEFAULT_STEPS if epochs is None else max(1, steps(epochs))),
        rampup=config.rampup_steps if config.rampup_epochs is None else steps(config.rampup_epochs),
        rampdown=config.rampdown_steps,
        cosine=max(1, steps(config.cosine_epochs or 0.0)),
        learning_rate_rampup=steps(config.learning_rate_rampup_epochs),
    )
