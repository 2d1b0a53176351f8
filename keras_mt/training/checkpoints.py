"""Saves everything a run is made of, and continues from it."""

from pathlib import Path

import keras
import tensorflow as tf

from keras_mt.mean_teacher import MeanTeacher
from keras_mt.training.program import RunError


class Checkpoints(keras.callbacks.Callback):
    """Saves a `MeanTeacher` every few steps as a `tf.train.Checkpoint`, which is written beside and then renamed.

    Held are the weights and statistics of both networks, the optimizer's state, the number of batches seen (of
    which all noise is a function), and the metrics of the epoch that is under way.

    Args:
        folder: Where checkpoints are kept; the newest three stay.
        model: The compiled model with a built optimizer.
        interval: Steps between checkpoints.
        evaluation_steps: Steps between evaluations. Where both fall together the checkpoint comes after the evaluation,
            which would be lost otherwise.
        last_step: A checkpoint is also saved at this step.
    """

    def __init__(self, folder: Path, model: MeanTeacher, interval: int, evaluation_steps: int, last_step: int):
        super().__init__()
        self.interval = interval
        self.evaluation_steps = evaluation_steps
        self.last_step = last_step
        self._metrics = [v for metric in model.metrics for v in metric.variables]
        # By position and not by Keras' object graph, which leaves out what Keras does not track as a layer.
        groups = {
            "student": model.student.weights,
            "teacher": model.teacher.weights,
            "optimizer": model.optimizer.variables,
            "batches_seen": [model.batches_seen],
            "metrics": self._metrics,
        }
        content = {name: [v.value for v in variables] for name, variables in groups.items()}
        self._manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(**content), str(folder), max_to_keep=3, checkpoint_name="step"
        )
        self._resumed_metrics = None

    def restore(self) -> int:
        """Restores the newest checkpoint and returns its step; 0 without one.

        Raises:
            RunError: If there are checkpoints and none can be read.
        """
        tried = []
        for path in reversed(self._manager.checkpoints):
            try:
                self._manager.checkpoint.restore(path).assert_consumed()
            except (tf.errors.OpError, AssertionError, ValueError) as error:
                tried.append(path)
                print(
                    f"warning: checkpoint {path} can't be read ({type(error).__name__}); trying the one before",
                    flush=True,
                )
                continue
            step = int(path.rsplit("-", 1)[1])
            if step % self.evaluation_steps:  # Within an epoch.
                self._resumed_metrics = [tf.identity(v) for v in self._metrics]
            return step
        if tried:
            raise RunError(f"none of the checkpoints {', '.join(tried)} can be read; remove them to start anew")
        return 0

    def on_epoch_begin(self, epoch, logs=None):
        if self._resumed_metrics:  # `fit` has just reset them.
            for variable, value in zip(self._metrics, self._resumed_metrics, strict=True):
                variable.assign(value)
            self._resumed_metrics = None

    def on_train_batch_end(self, batch, logs=None):
        step = int(self.model.batches_seen)
        if step % self.interval == 0 and step % self.evaluation_steps and step != self.last_step:
            self._manager.save(checkpoint_number=step)

    def on_epoch_end(self, epoch, logs=None):
        step = int(self.model.batches_seen)
        if step % self.interval == 0 or step == self.last_step:
            self._manager.save(checkpoint_number=step)
