"""Saves everything a run is made of, and continues from it."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_mt.experiments.errors import RunError
from keras_mt.experiments.running import checkpoint_files
from keras_mt.experiments.running.checkpoint_files import Identity
from keras_mt.experiments.running.run_directory import reason_of
from keras_mt.experiments.running.steps import StepCallback
from keras_mt.experiments.running.workers import Workers
from keras_mt.mean_teacher import MeanTeacher

_KEPT = 3


class Checkpoints(StepCallback):
    """Saves a `MeanTeacher` every few steps as a `tf.train.Checkpoint` in a folder of its own.

    Held are the weights and statistics of all networks, the optimizer's state, the number of batches seen (of which
    all noise is a function), temporal ensembling's average of predictions, and the metrics of the epoch that is under
    way. The folder is written under another name and then renamed: a crash, a full disk or a kill leaves the last good
    one.

    Args:
        folder: Where checkpoints are kept; the newest three stay.
        model: The compiled model with a built optimizer.
        identity: What the run is, which must be the same to continue.
        active_schedules: Says of a step which learning rate and weight it had.
        interval: Steps between checkpoints.
        evaluation_steps: Steps between evaluations. Where both fall together the checkpoint comes after the evaluation,
            which would be lost otherwise.
        last_step: A checkpoint is also saved at this step.
        workers: Of several, the chief writes and reads, and the others get what it read.
    """

    def __init__(
        self,
        folder: Path,
        model: MeanTeacher,
        identity: Identity,
        active_schedules: Callable[[int], str],
        interval: int,
        evaluation_steps: int,
        last_step: int,
        workers: Workers,
    ):
        super().__init__(0, last_step)
        self._workers = workers
        self.folder = folder
        self.active_schedules = active_schedules
        self.interval = interval
        self.evaluation_steps = evaluation_steps
        self._identity = identity
        self._metrics = [v for metric in model.metrics for v in metric.variables]
        self._trained = [v.value for v in model.trainable_variables]
        # By position and not by Keras' object graph, which leaves out what Keras does not track as a layer.
        groups = {
            "student": model.student.weights,
            "teacher": model.teacher.weights,
            "optimizer": model.optimizer.variables,
            "batches_seen": [model.batches_seen],
        }
        if model.average is not None:
            groups |= {"average": model.average.weights, "average_updates": [model.average_updates]}
        if model.prediction_ensembles:
            groups["prediction_ensemble"] = [w for ensemble in model.prediction_ensembles for w in ensemble.weights]
        if model.exact_averages:
            groups["exact_averages"] = model.exact_averages
        content = {name: [v.value for v in variables] for name, variables in groups.items()}
        self._shared = [v for variables in content.values() for v in variables]
        # Each replica adds up metrics of its own, a column each: added up from their sum, epochs would end in other
        # bits. A run may be continued on other devices, so the number of columns is open.
        self._on_replicas = model.distribute_strategy.experimental_local_results
        here = self._metrics_here()
        self._replicas = here.shape[1] * len(workers.cluster.addresses)
        self._metrics_of_replicas = tf.Variable(
            tf.zeros((len(here), self._replicas)), trainable=False, shape=tf.TensorShape((len(here), None))
        )
        content["metrics"] = [self._metrics_of_replicas]
        self._content = content
        # Not `tf.train.CheckpointManager`: it takes names of files to delete from a file in the folder, its pairs of
        # files are not renamed together, and a garbled list of checkpoints would start the run anew.
        self._checkpoint = tf.train.Checkpoint(**content)
        self._resumes_epoch = False
        self._saved = None

    # Reading ---------------------------------------------------------------------------------------------------

    def restore(self, *, read_only: bool = False) -> int:
        """Restores the newest checkpoint that is whole and returns its step; 0 if there is none at all.

        All workers get what the chief read, and its initial weights if there was nothing to read.

        A damaged one is put aside as `step-N.damaged`, with a warning that names it and the one that is used.

        Args:
            read_only: Whether damaged ones are left where they are.

        Raises:
            RunError: If there are checkpoints and none can be read, or the newest is of another experiment or of other
                data.
        """
        step = 0
        if self._workers.is_chief:
            found = checkpoint_files.read_newest(self.folder, self._identity, self._content)
            step = found.step
            for path in () if read_only else found.damaged:
                checkpoint_files.put_aside(path)
            saved = self._metrics_of_replicas.numpy()
            self._metrics_of_replicas.assign(sums_for_replicas(saved, self._replicas))
        self.step = max(row[0] for row in self._workers.all_gather([step]))
        self._workers.broadcast([*self._shared, self._metrics_of_replicas])
        self._resumes_epoch = self.step % self.evaluation_steps > 0
        return self.step

    def steps(self) -> list[int]:
        """Returns the steps of all checkpoints, oldest first."""
        return checkpoint_files.steps_in(self.folder)

    # Writing ---------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Saves the present step, unless it is saved.

        Raises:
            RunError: If the disk is full or the weights are not finite; what was saved before is kept.
        """
        path = self.folder / f"step-{self.step}"
        if self.step == self._saved:
            return
        if not all(bool(tf.reduce_all(tf.math.is_finite(v))) for v in self._trained):
            self.end_with(f"weights are not finite after step {self.step}")
        here = self._metrics_here()
        rows = self._workers.all_gather(here.view("int32").ravel().tolist())
        self._metrics_of_replicas.assign(
            np.concatenate([np.array(row, "int32").view("float32").reshape(here.shape) for row in rows], axis=1)
        )
        self._saved = self.step
        if self._workers.is_chief and self.step not in self.steps():
            self._write(path)

    def _write(self, path):
        unfinished = self.folder / "unfinished"
        try:
            self.folder.mkdir(exist_ok=True)
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            self._checkpoint.write(str(unfinished / "state"))
            checkpoint_files.write_record(unfinished, self.step, self._identity)
            for file in (*unfinished.iterdir(), unfinished):
                _to_disk(file)
            unfinished.rename(path)
            _to_disk(self.folder)
        except (tf.errors.OpError, OSError) as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise RunError(
                f"checkpoint {path} can't be written ({reason_of(error)}); {self.what_is_kept()}; when there is room "
                "the same command continues"
            ) from error
        for step in self.steps()[:-_KEPT]:
            older = self.folder / f"step-{step}"
            try:
                shutil.rmtree(older)
            except OSError as error:
                print(f"warning: the old checkpoint {older} can't be removed ({reason_of(error)})", file=sys.stderr)

    def end_with(self, finding: str) -> None:
        """Ends a run that has become worthless.

        Raises:
            RunError: Always.
        """
        raise RunError(
            f"{finding} ({self.active_schedules(self.step)}); {self.what_is_kept()}; start anew with a smaller "
            "--max_learning_rate or weight"
        )

    def what_is_kept(self) -> str:
        """Returns what a user may fall back to, as half a sentence."""
        if not self._workers.is_chief:
            return "the chief keeps its last checkpoint"
        steps = self.steps()
        return f"the checkpoint of step {steps[-1]} is kept" if steps else "no checkpoint had been saved yet"

    def evaluation_follows(self) -> bool:
        """Whether the present step ends an epoch, so that an evaluation comes before the checkpoint."""
        return self.step % self.evaluation_steps == 0 or self.step == self.last_step

    def on_epoch_begin(self, epoch, logs=None):
        if self._resumes_epoch:  # `fit` has just reset them.
            saved = self._metrics_of_replicas.numpy()
            for variable in self._metrics:
                components = self._on_replicas(variable.value)
                first = self._workers.cluster.here * len(components)
                rows, saved = np.split(saved, [components[0].shape.num_elements()])
                for component, values in zip(components, rows[:, first:].T, strict=False):
                    component.assign(values.reshape(component.shape))
            self._resumes_epoch = False

    def _metrics_here(self):
        """The metrics on the replicas of this worker, float32 `[numbers of all metrics, replicas]`."""
        columns = zip(*(self._on_replicas(v.value) for v in self._metrics), strict=True)
        return np.stack([np.concatenate([c.numpy().ravel() for c in column]) for column in columns], 1).astype(
            "float32"
        )

    def on_step_end(self, step, logs):
        if step % self.interval == 0 and not self.evaluation_follows():
            self.save()

    def on_epoch_end(self, epoch, logs=None):
        if self.step % self.interval == 0 or self.step == self.last_step:
            self.save()


def sums_for_replicas(sums: np.ndarray, replicas: int) -> np.ndarray:
    """Returns the sums `[metrics, replicas]` for a number of replicas: those of as many stay what they are.

    Args:
        sums: What each of some replicas has added up, `[metrics, any]`.
        replicas: Number of replicas now. If it is another, the first gets all.
    """
    if sums.shape[1] == replicas:
        return sums
    return np.pad(sums.sum(axis=1, keepdims=True), [(0, 0), (0, replicas - 1)])


def _to_disk(path):
    """Waits until a file or folder is on the disk: of a power cut a rename may survive and its content not."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
