"""Which devices a run uses: TensorFlow's own distribution strategies."""

import contextlib

import tensorflow as tf

from keras_mt.experiments.config import Config
from keras_mt.experiments.errors import UsageError
from keras_mt.experiments.running.cluster import Cluster


def make_strategy(config: Config, workers: Cluster) -> tf.distribute.Strategy:
    """Returns the strategy of --strategy; to be called before anything else uses a device.

    With several workers it waits until all of them have started.

    Raises:
        UsageError: If the batch can't be split evenly over the replicas.
    """
    with contextlib.suppress(RuntimeError):  # The same program was run before in this process.
        tf.config.threading.set_intra_op_parallelism_threads(config.num_threads)
    several = len(workers.addresses) > 1
    strategy = tf.distribute.MultiWorkerMirroredStrategy() if several else _of_one_machine(config)
    _check_shards(config, strategy.num_replicas_in_sync)
    return strategy


def _of_one_machine(config):
    if config.logical_devices:
        (cpu, *_) = tf.config.list_physical_devices("CPU")
        devices = [tf.config.LogicalDeviceConfiguration()] * config.logical_devices
        with contextlib.suppress(RuntimeError):  # The same program was run before in this process.
            tf.config.set_logical_device_configuration(cpu, devices)
    gpus = tf.config.list_logical_devices("GPU")
    if config.strategy == "none" or (config.strategy == "auto" and len(gpus) < 2 and not config.logical_devices):
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy(gpus or tf.config.list_logical_devices("CPU"))


def _check_shards(config, replicas):
    if config.batch_size % replicas:
        raise UsageError(f"--batch_size={config.batch_size} must be a multiple of the {replicas} devices")
    labeled = config.labeled
    uneven = isinstance(labeled, int) and labeled % replicas
    if uneven and (config.separate_passes or config.averaged_over == "participants"):
        raise UsageError(
            f"--labeled_per_batch={labeled} must be a multiple of the {replicas} devices with --separate_passes or "
            "--averaged_over=participants, where each device takes the mean of its own"
        )
    if uneven and not config.strong_on_labeled:
        raise UsageError(
            f"--labeled_per_batch={labeled} must be a multiple of the {replicas} devices with --nostrong_on_labeled, "
            "where each device leaves as many rows as they are"
        )
