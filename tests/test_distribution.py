"""The run is the same run on several devices (keras issues 19796 and 20585 are what goes wrong otherwise).

Steps are those of SGD: Adam divides by the size of a gradient, and makes rounding of one that is near 0 a full step.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from filelock import FileLock
from support import replicas as single_device
from support import structured_replicas
from support.forked import ROOT, Forked
from support.programs import TINY, free_ports, run_program, same_run, succeed, tf_config

import keras_mt
from keras_mt.data import Sampling, training_batches, training_indices
from keras_mt.data.batches import evaluation_rows

REPLICAS = single_device.__file__
LATER = {"separate_passes": 4, "reduction": "labeled", "teacher_statistics": "copy"}
ENSEMBLING = {"method": "temporal_ensembling"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Returns what `support/replicas.py` writes: several devices are set in a process of its own, one is here."""
    # Once for all processes of pytest-xdist.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", os.getpid())
    folder = tmp_path_factory.getbasetemp().parent / f"replicas-{run}"
    folder.mkdir(exist_ok=True)

    def train(replicas, network, **settings):
        settings = {"replicas": replicas, "network": network, **settings}
        if replicas == 1:
            return on_one_device(settings)
        settings = json.dumps(settings, sort_keys=True)
        path = folder / f"{hashlib.sha256(settings.encode()).hexdigest()[:16]}.npz"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                process = Forked(REPLICAS, path, settings)
                errors = process.communicate(timeout=300)[1]
                assert process.returncode == 0, errors[-3000:]
        with np.load(path) as file:
            return dict(file)

    results = {}

    def on_one_device(settings):
        key = json.dumps(settings, sort_keys=True)
        if key not in results:
            results[key] = single_device.train(single_device.DEFAULTS | settings)
        return results[key]

    return train


@pytest.fixture(scope="module")
def trained_by_workers(tmp_path_factory):
    """Trains in two processes that are the workers of one run, and returns what each of them wrote."""

    def train(network, **settings):
        folder, ports = tmp_path_factory.mktemp("workers"), free_ports(2)
        settings = json.dumps({"replicas": 2, "network": network, **settings})
        processes = []
        for index in range(2):
            cluster = {"TF_CONFIG": tf_config(ports, index), "PYTHONFAULTHANDLER": "1"}
            environment = {**os.environ, "PYTHONPATH": str(ROOT), **cluster}
            command = [sys.executable, REPLICAS, str(folder / f"{index}.npz"), settings]
            processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        succeed(processes)
        return [dict(np.load(folder / f"{index}.npz")) for index in range(2)]

    return train


def largest(first, second, prefix):
    return max(np.abs(first[name] - second[name]).max() for name in first if name.startswith(prefix))


@pytest.mark.parametrize(
    ("network", "replicas"),
    [
        ("dense", 2),
        *(pytest.param(n, k, marks=pytest.mark.slow) for n, k in (("dense", 4), ("convnet", 2), ("convnet", 4))),
    ],
)
def test_replicas_reproduce_the_weights_of_a_single_device(trained, network, replicas):
    one, several = trained(1, network), trained(replicas, network)
    assert largest(one, several, "weight/") < 1e-4
    assert largest(one, several, "history/") < 1e-4
    assert largest(one, several, "evaluation/") < 1e-4
    np.testing.assert_allclose(several["prediction"], one["prediction"], atol=1e-4)
    assert max(several[name].max() for name in several if name.startswith("drift/")) == 0.0


@pytest.mark.parametrize("network", [pytest.param("convnet", marks=pytest.mark.slow), "dense"])
def test_statistics_are_equal_on_all_replicas_even_where_each_has_its_own_batch_means(trained, network):
    several = trained(2, network, synchronized=False, noise=True)
    assert max(several[name].max() for name in several if name.startswith("drift/")) == 0.0
    assert largest(trained(1, network), several, "weight/") > 1e-3  # It is another computation.


@pytest.mark.parametrize(
    ("network", "settings"),
    [
        pytest.param("convnet", {}, marks=pytest.mark.slow),
        ("dense", {"arrays": True}),  # Keras issue 20585, as its users meet it: `fit(x, y)`, `evaluate` and `predict`.
        pytest.param("plain", {"model": ENSEMBLING}, marks=pytest.mark.slow),
    ],
)
def test_workers_reproduce_the_weights_of_a_single_device_and_agree_bit_for_bit(
    trained, trained_by_workers, network, settings
):
    one, (first, second) = trained(1, network, **settings), trained_by_workers(network, **settings)
    for name in ("weight/", "history/", "evaluation/", "prediction"):
        assert largest(one, first, name) < 1e-4
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


@pytest.mark.parametrize(
    "kinds",
    [
        ["structured, by labeled", "loss by labeled", "statistics", "sums", "Keras' loss", "a loss called whole"],
        pytest.param(None, marks=pytest.mark.slow),
    ],
    ids=["some", "all"],
)
def test_every_kind_of_student_and_loss_is_the_same_on_replicas_with_unequal_shares(tmp_path, kinds):
    """17 rows in batches of 8: of the last, one replica has the row and the other none."""
    settings, path = {"examples": 17, "kinds": kinds}, tmp_path / "two.npz"
    one = structured_replicas.train(replicas=1, **settings)
    process = Forked(structured_replicas.__file__, path, json.dumps({"replicas": 2, **settings}))
    errors = process.communicate(timeout=500)[1]
    assert process.returncode == 0, errors[-3000:]
    two = dict(np.load(path))
    assert sorted(one) == sorted(two)
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, rtol=5e-6, atol=2e-6, err_msg=name)


@pytest.mark.parametrize(("layer", "batch_size", "refused"), [
    (keras.layers.Conv2D(2, 3), 8, True), (keras.layers.MaxPooling2D(), 13, True),
    (keras.layers.Conv2D(2, 3), 9, False),
    (keras.layers.Dense(2, name="middle"), 8, False), (keras.layers.GlobalAveragePooling2D(), 8, False)])  # fmt: skip
def test_a_replica_without_rows_is_refused_where_it_would_end_the_process(layer, batch_size, refused):
    """17 examples on two replicas: 1 is left by 8, 4 by 13, 8 by 9 of which each replica gets some."""
    student = keras.Sequential([keras.Input((6, 6, 2)), layer, keras.layers.Flatten(), keras.layers.Dense(3)])
    model = keras_mt.MeanTeacher(student)
    model.compile("sgd")

    class TwoReplicas:
        num_replicas_in_sync = 2

    model._distribute_strategy, model._under_strategy = TwoReplicas(), True
    if refused:
        with pytest.raises(ValueError, match="Received: 17 examples in batches of"):
            model.fit(np.zeros((17, 6, 6, 2)), np.arange(17) % 3, batch_size=batch_size)
    else:
        model.check_shares(student.layers, 17, batch_size)


def test_a_batch_of_a_data_set_that_leaves_a_replica_without_rows_is_refused_before_the_network_sees_it():
    """Without the check oneDNN's convolution has an error without words, or ends the process."""
    student = keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Conv2D(2, 3), keras.layers.GlobalMaxPooling2D()])
    model = keras_mt.MeanTeacher(student, method="supervised")
    model._under_strategy = True
    model.compile("sgd")
    with pytest.raises(ValueError, match="drop_remainder=True.*Received: examples of a replica: 0$"):
        model.train_on_batch(np.zeros((0, 6, 6, 2), "float32"), np.zeros(0, "int32"))


@pytest.mark.slow
def test_data_sets_that_leave_a_replica_without_rows_are_refused_under_a_strategy(tmp_path):
    code = """
import keras, numpy as np, tensorflow as tf, keras_mt
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    student = keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Conv2D(3, 3), keras.layers.GlobalMaxPooling2D()])
    model = keras_mt.MeanTeacher(student, method="supervised")
    model.compile("sgd")
data = tf.data.Dataset.from_tensor_slices((np.zeros((17, 6, 6, 2), "float32"), np.arange(17) % 3))
model.fit(data.batch(9), verbose=0)
try:
    model.fit(data.batch(8), verbose=0)
except ValueError as error:
    print(error)
"""
    (tmp_path / "code.py").write_text(code)
    out, err = Forked(tmp_path / "code.py").communicate(timeout=300)
    assert out.strip().endswith("Received: examples of a replica: 0"), err[-3000:]


@pytest.mark.slow
def test_replicas_draw_noise_of_their_own(trained):
    assert largest(trained(1, "convnet", noise=True), trained(2, "convnet", noise=True), "weight/") > 1e-3


@pytest.mark.slow
def test_the_later_protocol_is_the_same_on_two_devices(trained):
    one, two = (trained(replicas, "dense", model=LATER) for replicas in (1, 2))
    assert largest(one, two, "weight/") < 1e-4


@pytest.mark.slow
def test_replicas_remember_all_predictions(trained):
    one, two = (trained(replicas, "plain", model=ENSEMBLING) for replicas in (1, 2))
    np.testing.assert_array_equal(one["visits"], two["visits"])
    np.testing.assert_allclose(one["averages"], two["averages"], atol=1e-5)
    assert largest(one, two, "weight/") < 1e-4


@pytest.mark.parametrize(("labeled_per_batch", "replicas"), [(4, 2), (4, 4), (1, 2), (6, 4), ("vary", 2), ("all", 4)])
def test_the_rows_of_a_batch_are_the_same_and_labeled_ones_are_spread(labeled_per_batch, replicas):
    labels = np.arange(60, dtype="int32") % 4
    arguments = (labels, np.arange(0, 60, 5), Sampling(batch_size=12, labeled_per_batch=labeled_per_batch, seed=3))
    one = training_indices(*arguments)(np.int64(7))
    shard = training_indices(*arguments, num_replicas=replicas)
    several = [tf.concat(rows, axis=0) for rows in zip(*(shard(np.int64(7), r) for r in range(replicas)), strict=True)]
    assert sorted(zip(*(x.numpy() for x in one), strict=True)) == sorted(
        zip(*(x.numpy() for x in several), strict=True)
    )
    if isinstance(labeled_per_batch, int):
        shares = (several[1].numpy() >= 0).reshape(replicas, -1)
        assert shares.sum(axis=1).max() - shares.sum(axis=1).min() <= 1
        assert (np.sort(shares, axis=1)[:, ::-1] == shares).all()  # Labeled rows come first in each share.


def test_a_worker_makes_the_shares_of_its_own_replicas_alone():
    images = np.arange(60, dtype="uint8").reshape(60, 1, 1, 1)
    arguments = (images, np.arange(60) % 4, np.arange(0, 60, 5), Sampling(12, 4, seed=3))
    whole = iter(training_batches(*arguments, first_step=5))
    first, second = (
        iter(training_batches(*arguments, first_step=5, num_replicas=4, replicas=replicas))
        for replicas in ((0, 1), (2, 3))
    )
    for _ in range(7):
        rows = next(whole)[0].numpy().ravel()
        mine, others = (
            [image for _ in range(2) for image in next(part)[0].numpy().ravel()] for part in (second, first)
        )
        assert sorted(rows) == sorted([*mine, *others])
        assert len(mine) == 6


@pytest.mark.parametrize(("count", "replicas", "largest_batch"), [(37, 4, 16), (5, 4, 500), (4, 4, 1), (100, 3, 10)])
def test_images_to_evaluate_on_are_shared_out_without_an_empty_batch(count, replicas, largest_batch):
    shares = [evaluation_rows(count, replicas, (replica,), largest_batch) for replica in range(replicas)]
    assert len({len(share) for share in shares}) == 1
    assert sorted(row for share in shares for batch in share for row in batch) == list(range(count))
    assert all(0 < sum(map(len, batches)) <= max(largest_batch, replicas) for batches in zip(*shares, strict=True))
    assert all(len(batch) for share in shares for batch in share)


def test_a_batch_that_can_not_be_split_is_named():
    with pytest.raises(ValueError, match="batch_size=10"):
        training_indices(np.zeros(20, "int32"), np.arange(20), Sampling(10, 5, seed=0), num_replicas=4)


@pytest.mark.slow
def test_the_training_program_uses_two_devices_and_continues_to_the_same_weights(tmp_path):
    flags = (*TINY, "--strategy=mirrored", "--logical_devices=2")
    process = run_program("train", *flags, f"--run_dir={tmp_path / 'whole'}")
    assert process.returncode == 0, process.stderr
    assert json.loads((tmp_path / "whole" / "results.json").read_text())["replicas"] == 2
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for name in ("results.json", "checkpoints/step-12"):  # As if it had been killed after step 8.
        (tmp_path / "cut" / name).rename(tmp_path / name.replace("/", "-"))
    process = run_program("train", *flags, f"--run_dir={tmp_path / 'cut'}")
    assert process.returncode == 0, process.stderr
    assert "continues at step 8" in process.stdout
    same_run(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize(
    ("flags", "culprit"),
    [
        (("--logical_devices=3",), "--batch_size=20 must be a multiple of the 3 devices"),
        pytest.param(
            ("--logical_devices=4", "--separate_passes"),
            "--labeled_per_batch=10 must be a multiple of the 4 devices",
            marks=pytest.mark.slow,
        ),
        (("--logical_devices=65",), "logical_devices"),
    ],
)
def test_a_batch_that_devices_can_not_share_is_a_wrong_flag(tmp_path, flags, culprit):
    process = run_program("train", *TINY, *flags, f"--run_dir={tmp_path / 'run'}")
    assert process.returncode == 2
    assert culprit in process.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "run").exists()
