"""Which devices a run uses: TensorFlow's own distribution strategies."""

import contextlib

import tensorflow as tf

from keras_mt.training.program import UsageError
from keras_mt.training.settings import FLAGS, labeled_per_batch


def make_strategy() -> tf.distribute.Strategy:
    """Returns the strategy of --strategy; to be called before anything else uses a device.

    Raises:
        UsageError: If the batch can't be split evenly over the replicas.
    """
    if FLAGS.logical_devices:
        (cpu, *_) = tf.config.list_physical_devices("CPU")
        devices = [tf.config.LogicalDeviceConfiguration()] * FLAGS.logical_devices
        with contextlib.suppress(RuntimeError):  # The same program was run before in this process.
            tf.config.set_logical_device_configuration(cpu, devices)
    gpus = tf.config.list_logical_devices("GPU")
    if FLAGS.strategy == "none" or (FLAGS.strategy == "auto" and len(gpus) < 2 and not FLAGS.logical_devices):
        return tf.distribute.get_strategy()
    strategy = tf.distribute.MirroredStrategy(gpus or tf.config.list_logical_devices("CPU"))
    _check_shares(strategy.num_replicas_in_sync)
    return strategy


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
