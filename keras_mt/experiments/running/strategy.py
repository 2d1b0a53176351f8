"""Which devices a run uses: TensorFlow's own distribution strategies."""

import contextlib

import tensorflow as tf

from keras_mt.experiments.errors import UsageError
from keras_mt.experiments.running import cluster
from keras_mt.experiments.running.settings import FLAGS, labeled_per_batch


def read_cluster() -> cluster.Cluster:
    """Returns who takes part in the run.

    Raises:
        UsageError: If --strategy and `TF_CONFIG` contradict each other.
    """
    if FLAGS.strategy not in ("auto", "multi_worker"):
        return cluster.Cluster()
    workers = cluster.read()
    if FLAGS.strategy == "multi_worker" and len(workers.addresses) < 2:
        raise UsageError(
            f"--strategy=multi_worker needs the environment variable TF_CONFIG with several workers, not "
            f"{len(workers.addresses)}"
        )
    if len(workers.addresses) > 1 and FLAGS.logical_devices:
        raise UsageError(f"--logical_devices={FLAGS.logical_devices} can't be used with --strategy=multi_worker")
    return workers


def make_strategy(workers: cluster.Cluster) -> tf.distribute.Strategy:
    """Returns the strategy of --strategy; to be called before anything else uses a device.

    With several workers it waits until all of them have started.

    Raises:
        UsageError: If the batch can't be split evenly over the replicas.
    """
    with contextlib.suppress(RuntimeError):  # The same program was run before in this process.
        tf.config.threading.set_intra_op_parallelism_threads(FLAGS.num_threads)
    several = len(workers.addresses) > 1
    strategy = tf.distribute.MultiWorkerMirroredStrategy() if several else _of_one_machine()
    _check_shares(strategy.num_replicas_in_sync)
    return strategy


def _of_one_machine():
    if FLAGS.logical_devices:
        (cpu, *_) = tf.config.list_physical_devices("CPU")
        devices = [tf.config.LogicalDeviceConfiguration()] * FLAGS.logical_devices
        with contextlib.suppress(RuntimeError):  # The same program was run before in this process.
            tf.config.set_logical_device_configuration(cpu, devices)
    gpus = tf.config.list_logical_devices("GPU")
    if FLAGS.strategy == "none" or (FLAGS.strategy == "auto" and len(gpus) < 2 and not FLAGS.logical_devices):
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy(gpus or tf.config.list_logical_devices("CPU"))


def _check_shares(replicas):
    if FLAGS.batch_size % replicas:
        raise UsageError(f"--batch_size={FLAGS.batch_size} must be a multiple of the {replicas} devices")
    labeled = labeled_per_batch()
    uneven = isinstance(labeled, int) and labeled % replicas
    if uneven and (FLAGS.separate_passes or FLAGS.averaged_over == "participants"):
        raise UsageError(
            f"--labeled_per_batch={labeled} must be a multiple of the {replicas} devices with --separate_passes or "
            "--averaged_over=participants, where each device takes the mean of its own"
        )
