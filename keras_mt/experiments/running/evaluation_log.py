"""The evaluations of a run: one CSV, and TensorBoard events made from it."""

import contextlib
import csv
import io
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from keras_mt.experiments.errors import RunError
from keras_mt.experiments.running import chance
from keras_mt.experiments.running.evaluation_rows import NETWORKS, errors_in_words, read_rows
from keras_mt.experiments.running.progress import report
from keras_mt.experiments.running.run_directory import reason_of, write_atomically
from keras_mt.experiments.running.steps import StepCallback

# Column of the CSV, name in Keras' logs, factor.
COLUMNS = (
    ("student_error", "val_student_error", 100.0),
    ("teacher_error", "val_teacher_error", 100.0),
    ("student_top5_error", "val_student_top5_error", 100.0),
    ("teacher_top5_error", "val_teacher_top5_error", 100.0),
    ("student_classification_cost", "val_student_loss", 1.0),
    ("teacher_classification_cost", "val_teacher_loss", 1.0),
    ("average_error", "val_average_error", 100.0),
    ("average_top5_error", "val_average_top5_error", 100.0),
    ("average_classification_cost", "val_average_loss", 1.0),
    ("training_classification_cost", "classification_cost", 1.0),
    ("training_consistency_cost", "consistency_cost", 1.0),
    ("training_logit_distance_cost", "logit_distance_cost", 1.0),
    ("training_student_error", "student_error", 100.0),
    ("training_labeled_per_batch", "labeled_per_batch", 1.0),
    ("training_confident_share", "confident_share", 1.0),
    ("training_certain_share", "certain_share", 1.0),
    ("consistency_weight", "consistency_weight", 1.0),
    ("ema_decay", "ema_decay", 1.0),
    ("teacher_student_distance", "teacher_student_distance", 1.0),
)
# Columns of methods that measure them.
_OF_SOME = {
    "average_error", "average_top5_error", "average_classification_cost", "training_confident_share",
    "training_certain_share",
}  # fmt: skip
# Columns of neither network.
_OF_TRAINING = ("consistency_weight", "ema_decay", "teacher_student_distance")


class EvaluationLog(StepCallback):
    """Writes a row for each evaluation; errors are percentages.

    The events are a function of the rows: on resuming, both are cut to the checkpoint's step and written anew, so
    that no step is missing or double.

    Args:
        path: The CSV file.
        events: Folder of the TensorBoard events: `student`, `teacher`, `average` and `training` together on each chart.
        first_step: The step the run begins or continues at.
        last_step: The step it ends at.
        learning_rate: The learning rate as a function of the step, counted from 0.
        chance_of: What `chance.chance_of` returned for the images that are evaluated on.

    Raises:
        RunError: If rows or events can't be written.
    """

    def __init__(
        self,
        path: Path,
        events: Path,
        first_step: int,
        last_step: int,
        learning_rate: Callable[[int], float],
        chance_of: dict,
    ):
        super().__init__(first_step, last_step)
        self._learning_rate = learning_rate
        self._chance = chance_of
        self.path = path
        self.rows = [row for row in read_rows(path) if row["step"] <= first_step]
        for name in (*NETWORKS, "training"):
            for path in (events / name).glob("events.out.tfevents.*"):
                with contextlib.suppress(OSError):
                    path.unlink()
        self._events, self._writers = events, {}
        for row in self.rows:
            self._write_events(row)
        self._write_rows()

    @contextlib.contextmanager
    def _events_named(self):
        try:
            yield
        except (tf.errors.OpError, OSError) as error:
            raise RunError(
                f"{self._events} can't be written ({reason_of(error)}); when there is room the same command continues"
            ) from error

    def on_epoch_end(self, epoch, logs=None):
        if "val_student_error" not in logs:
            return
        # The loss of an evaluation is that of the network which predicts.
        predictor = "average" if "val_average_error" in logs else "teacher"
        logs = {**logs, **({f"val_{predictor}_loss": logs["val_loss"]} if "val_loss" in logs else {})}
        row = {"step": self.step}
        row |= {column: factor * float(logs[name]) for column, name, factor in COLUMNS if name in logs}
        self.rows.append(row)
        self._write_rows()
        self._write_events(row)
        lowest = min(row[f"{network}_error"] for network in NETWORKS if f"{network}_error" in row)
        by_chance = chance.no_better(lowest, self._chance)
        errors = f"{errors_in_words(row)} error{' (no better than chance)' if by_chance else ''}"
        report(f"step {self.step}/{self.last_step}: {errors}; {self.time_left()} left")

    def _write_rows(self):
        text = io.StringIO()
        columns = [name for name, _, _ in COLUMNS if name not in _OF_SOME or any(name in row for row in self.rows)]
        writer = csv.DictWriter(text, ["step", *columns], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(self.path, text.getvalue())

    def _write_events(self, row):
        for column, value in row.items():
            network, _, name = column.partition("_")
            if column in ("step", *_OF_TRAINING):
                network, name = "training", column
            if name != "step":
                with self._events_named(), self._writer(network).as_default():
                    tf.summary.scalar(name, value, step=row["step"])
        with self._events_named():
            with self._writer("training").as_default():
                tf.summary.scalar("learning_rate", self._learning_rate(row["step"] - 1), step=row["step"])
            for writer in self._writers.values():
                writer.flush()

    def _writer(self, name):
        if name not in self._writers:
            self._writers[name] = tf.summary.create_file_writer(str(self._events / name))
        return self._writers[name]
