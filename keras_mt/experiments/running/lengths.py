"""Lengths of a run in optimizer steps, from flags that may be in epochs of its data."""

import dataclasses

from keras_mt.experiments.datasets.image_data import ImageData
from keras_mt.experiments.errors import UsageError
from keras_mt.experiments.running import checks, settings
from keras_mt.experiments.running.settings import FLAGS


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


def of_the_run(data: ImageData) -> Lengths:
    """Returns the lengths of the run that the flags describe.

    An epoch is one pass of the stream of unlabeled examples, labeled ones repeat in it (paper, appendix B.3); where
    batches have a single stream, it is one pass of that.

    Raises:
        UsageError: If a ramp is longer than the run.
    """
    labeled = settings.labeled_per_batch()
    if labeled == "all" or labeled == FLAGS.batch_size:
        size, drawn = len(data.labeled), FLAGS.batch_size
    elif labeled == "vary":
        size, drawn = data.num_examples, FLAGS.batch_size
    else:
        size, drawn = data.num_examples, FLAGS.batch_size - labeled
        if FLAGS.unlabeled_stream == "unlabeled":
            size -= len(data.labeled)
            if not size:
                raise UsageError(
                    "--unlabeled_stream=unlabeled needs examples without a label; "
                    f"--num_labels={FLAGS.num_labels} leaves none"
                )

    def steps(epochs):
        return round(epochs * size / drawn)

    epochs = FLAGS.training_epochs
    training = FLAGS.training_steps or (settings.DEFAULT_STEPS if epochs is None else max(1, steps(epochs)))
    rampup = FLAGS.rampup_steps if FLAGS.rampup_epochs is None else steps(FLAGS.rampup_epochs)
    checks.check_ramp("rampup_steps" if FLAGS.rampup_epochs is None else "rampup_epochs", rampup, training)
    checks.check_ramp("rampdown_steps", FLAGS.rampdown_steps, training)
    return Lengths(
        training,
        rampup,
        FLAGS.rampdown_steps,
        max(1, steps(FLAGS.cosine_epochs or 0.0)),
        steps(FLAGS.learning_rate_rampup_epochs),
    )
