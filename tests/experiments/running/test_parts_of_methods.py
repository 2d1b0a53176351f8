"""What is added to a method in runs: continuing, evaluating, exporting."""

import errno
import math
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.programs import TINY, final_weights, same_run
from support.small_students import examples, largest, noisy

import keras_mt
from keras_mt.experiments import cli
from keras_mt.experiments.config import Config
from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.running import saved_networks, strategy
from keras_mt.experiments.running.checkpoint_files import Identity
from keras_mt.experiments.running.checkpoints import Checkpoints, sums_for_replicas
from keras_mt.experiments.running.cluster import Cluster
from keras_mt.experiments.running.evaluation_log import EvaluationLog
from keras_mt.experiments.running.evaluation_rows import read_rows
from keras_mt.experiments.running.run_directory import RunDirectory
from keras_mt.experiments.running.workers import Workers

STEPS = 6


def trained(folder, steps):
    """A model with every part that has noise or state of its own, after some steps in a folder of checkpoints."""
    x, y = examples()
    model = keras_mt.MeanTeacher(
        noisy(),
        mixing=keras_mt.mixing.Interpolation(labels=True),
        perturbation=keras_mt.VirtualAdversarial(1.0),
        uncertainty=keras_mt.Uncertainty(2, STEPS),
        student_augmentation=keras_mt.layers.GaussianNoise(0.1),
        second_ema_decay=0.9,
    )
    model.compile(keras.optimizers.Adam(0.1))
    model.optimizer.build(model.trainable_variables)
    identity = Identity({"dataset": "digits", "method": "mean_teacher", "seed": 0}, ("a", "b", "c"), "data", STEPS)
    workers = Workers(Cluster(), timeout=math.inf)
    checkpoints = Checkpoints(folder, model, identity, str, 1, STEPS, STEPS, workers)
    start = checkpoints.restore()
    schedules = keras_mt.MeanTeacherCallback(2.0, STEPS, 0.5, ema_warmup=0.75, ema_every=2, verbose=False)
    batches = tf.data.Dataset.from_tensors((x, y)).repeat()
    model.fit(batches, steps_per_epoch=steps - start, callbacks=[schedules, checkpoints], verbose=0, shuffle=False)
    return model, start


def test_a_run_that_was_cut_off_continues_to_the_same_bits(tmp_path):
    whole, _ = trained(tmp_path / "whole", STEPS)
    cut, _ = trained(tmp_path / "cut", 3)
    continued, start = trained(tmp_path / "cut", STEPS)
    assert start == 3
    assert largest(whole, continued) == 0
    assert largest(whole, cut) > 0


def test_checkpoints_are_saved_beside_what_is_none_and_what_can_not_be_removed(tmp_path, capfd, monkeypatch):
    (tmp_path / "step-01").mkdir()
    (tmp_path / "step-7").write_text("a file")
    rmtree = shutil.rmtree

    def of_others(path, ignore_errors=False):
        if path.name == "step-1":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        rmtree(path, ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", of_others)
    trained(tmp_path, STEPS)
    kept = {f"step-{step}" for step in (1, *range(STEPS - 2, STEPS + 1))}
    assert {path.name for path in tmp_path.iterdir()} == {"step-01", "step-7", *kept}
    warnings = set(capfd.readouterr().err.splitlines())
    assert warnings == {f"warning: the old checkpoint {tmp_path / 'step-1'} can't be removed (Permission denied)"}


def test_a_file_of_a_checkpoints_name_is_no_checkpoint_and_kept(tmp_path):
    (tmp_path / "step-2").write_text("a file")
    with pytest.raises(RunError, match=r"step-2 can't be written \(.*; the checkpoint of step 1 is kept"):
        trained(tmp_path, STEPS)
    assert (tmp_path / "step-2").read_text() == "a file"


def test_what_each_replica_added_up_comes_back_to_it():
    sums = np.array([[0.1, 0.2, 0.3], [1.0, 2.0, 4.0]], "float32")
    np.testing.assert_array_equal(sums_for_replicas(sums, 3), sums)
    np.testing.assert_allclose(sums_for_replicas(sums, 2), [[0.6, 0], [7, 0]], rtol=1e-6)
    np.testing.assert_allclose(sums_for_replicas(sums, 4).sum(axis=1), [0.6, 7], rtol=1e-6)


FLAGS = (
    *TINY, "--mixing=cutmix", "--mix_labels", "--confidence_threshold=0.1", "--perturbation_epsilon=20",
    "--second_ema_decay=0.9", "--strong_augmentation=randaugment", "--nostrong_on_labeled", "--uncertainty_passes=2",
    "--noconsistency_on_labeled", "--teacher_sees=unlabeled", "--ema_warmup_power=0.75", "--ema_every=2",
)  # fmt: skip


@pytest.mark.slow
def test_a_run_with_every_part_continues_evaluates_and_exports_its_second_average(tmp_path, capfd):
    run, cut = tmp_path / "run", tmp_path / "cut"
    cli.main("train", [*FLAGS, f"--run_dir={run}"])
    shutil.copytree(run, cut)
    for step in ("step-12", "step-10"):
        shutil.rmtree(cut / "checkpoints" / step, ignore_errors=True)
    (cut / "results.json").unlink()
    cli.main("train", [*FLAGS, f"--run_dir={cut}"])
    assert "continues at step 8" in capfd.readouterr().out
    same_run(run, cut)
    assert any(name.startswith("average") for name in final_weights(run, ("average",)))
    last = read_rows(run / "evaluations.csv")[-1]
    cli.main("evaluate", [f"--run_dir={run}"])
    assert f"average {last['average_error']:.2f} %" in capfd.readouterr().out
    average, teacher = (saved_networks.load(RunDirectory(str(run)), which) for which in (None, "teacher"))
    assert (average.which, teacher.which) == ("average", "teacher")
    images = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 1)).astype("uint8")
    loaded = tf.saved_model.load(str(run / "exported_teacher"))
    served = loaded.serve(images)["probabilities"]
    np.testing.assert_allclose(served, tf.nn.softmax(average.network(images)), atol=1e-5)
    assert np.abs(served - tf.nn.softmax(teacher.network(images))).max() > 1e-4


def test_a_run_without_a_second_average_has_none_to_load(tiny_run):
    run = RunDirectory(str(tiny_run))
    assert saved_networks.load(run).which == "teacher"
    with pytest.raises(UsageError, match="--which=average needs a run with --second_ema_decay"):
        saved_networks.load(run, "average")


@pytest.mark.parametrize("second", [False, True])
def test_the_log_has_columns_of_the_second_average_where_there_is_one(tmp_path, second, capfd):
    chance = {"error": 90.0, "images": 100}
    log = EvaluationLog(tmp_path / "evaluations.csv", tmp_path / "events", 0, 10, lambda step: 0.1, chance)
    for batch in range(5):
        log.on_train_batch_end(batch)
    logs = {"val_student_error": 0.3, "val_teacher_error": 0.2, "val_student_loss": 3.0, "val_loss": 1.0}
    log.on_epoch_end(0, {**logs, **({"val_average_error": 0.1, "val_teacher_loss": 2.0} if second else {})})
    (row,) = read_rows(tmp_path / "evaluations.csv")
    assert row["teacher_classification_cost"] == (2.0 if second else 1.0)
    assert row.get("average_classification_cost") == (1.0 if second else None)
    assert ("average_error" in (tmp_path / "evaluations.csv").read_text()) == second
    assert (tmp_path / "events" / "average").exists() == second
    words = "student 30.00 %, teacher 20.00 %" + (", average 10.00 %" if second else "") + " error"
    assert words in capfd.readouterr().out


def test_devices_that_do_not_share_labeled_rows_evenly_leave_none_plain():
    config = Config(
        batch_size=20, labeled_per_batch="10", strong_augmentation="erasing", strong_on_labeled=False, num_labels="50"
    )
    strategy._check_shards(config, 2)
    with pytest.raises(UsageError, match="--labeled_per_batch=10 must be a multiple of the 4 devices with --nostrong"):
        strategy._check_shards(config, 4)
