"""What the workers of a run on several machines must agree on, and what they say when one of them is gone."""

import contextlib
import faulthandler
import os
import sys
import threading
import time
import zlib

import keras
import tensorflow as tf

from keras_mt.experiments.errors import RunError
from keras_mt.experiments.running.cluster import Cluster

_GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.FailedPreconditionError,
    tf.errors.UnknownError,
)
_AGAIN = "the same command on all workers continues from the last checkpoint"


# Here and not where they are called, which is once a step: each new function would be traced, and a run's memory grow.


@tf.function
def _gathered(row):
    return tf.distribute.get_replica_context().all_gather(tf.identity(row), axis=0)


@tf.function
def _of_first_replica(value):
    replica = tf.distribute.get_replica_context()
    kept = value if replica.replica_id_in_sync_group == 0 else tf.zeros_like(value)
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(kept))


class Workers(keras.callbacks.Callback):
    """This worker among the others; of one worker, nothing that it does has an effect.

    As a callback it notes that the run goes on. All of its methods that return something are to be called by all
    workers at the same place.

    Args:
        cluster: Who they are.
        timeout: Seconds without progress after which this process ends.
    """

    def __init__(self, cluster: Cluster, timeout: float):
        super().__init__()
        self.cluster = cluster
        self.is_chief = cluster.is_chief
        self.several = len(cluster.addresses) > 1
        self._timeout = timeout
        self._last_progress = time.monotonic()
        self._doing = "started"
        self._ended = threading.Event()

    # Agreeing --------------------------------------------------------------------------------------------------

    def barrier(self) -> None:
        """Waits until all workers are here."""
        self.all_gather([0])

    def all_gather(self, numbers: list[int]) -> list[list[int]]:
        """Returns the numbers of each worker: a list of rows."""
        if not self.several:
            return [list(numbers)]
        strategy = tf.distribute.get_strategy()
        rows = strategy.run(_gathered, args=(tf.constant([numbers], "int64"),))
        return strategy.experimental_local_results(rows)[0].numpy().tolist()

    def check_same(self, values: dict) -> None:
        """Checks that all workers were started for the same experiment on the same data.

        Args:
            values: Names and values, the same names on all workers.

        Raises:
            RunError: Naming what differs.
        """
        if not self.several:
            return
        rows = self.all_gather([zlib.crc32(repr(value).encode()) for value in values.values()])
        differing = [name for name, column in zip(values, zip(*rows, strict=True), strict=True) if len(set(column)) > 1]
        if differing:
            here = ", ".join(f"{name}={values[name]}" for name in differing)
            raise RunError(f"the workers were started differently: here {here}, and not so on all of them")

    def broadcast(self, variables: list[tf.Variable]) -> None:
        """Gives variables the values that they have on the chief, bit for bit."""
        if not self.several:
            return
        strategy = tf.distribute.get_strategy()
        for variable in variables:  # One by one: all of them at once would need their memory once more.
            value = tf.convert_to_tensor(variable)
            # Sums of whole numbers are exact; -0.0 + 0.0 would lose its sign.
            bits = tf.bitcast(value, "int32") if value.dtype == tf.float32 else value
            result = strategy.run(_of_first_replica, args=(bits,))
            result = strategy.experimental_local_results(result)[0]
            variable.assign(tf.bitcast(result, "float32") if value.dtype == tf.float32 else result)

    # Failing ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def watched(self):
        """Ends the process with a sentence when another worker is gone or nothing happens any more."""
        if not self.several:
            yield
            return
        self.cluster.wait_for_all(self._timeout)
        # The last resort: a worker that dies now leaves the others in a call that lets no thread of Python run.
        faulthandler.dump_traceback_later(2 * self._timeout, exit=True)
        self.progress()
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            yield
        except _GONE as error:
            raise RunError(
                f"another worker ended or can't be reached{self._who()} ({type(error).__name__}); {_AGAIN}"
            ) from error
        finally:
            self._ended.set()

    def started(self) -> None:
        """Notes that all workers have met."""
        faulthandler.cancel_dump_traceback_later()
        self.progress()

    def progress(self) -> None:
        """Notes that the run goes on."""
        self._last_progress = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self._doing = "trained"
        self.progress()

    def on_test_batch_end(self, batch, logs=None):
        self.progress()

    def _watch(self):
        while not self._ended.wait(min(1.0, self._timeout / 10)):
            if time.monotonic() - self._last_progress > self._timeout:
                # The main thread waits inside of TensorFlow, where no exception reaches it.
                print(
                    f"error: nothing happened for --worker_timeout={self._timeout:g} seconds while this worker "
                    f"{self._doing}{self._who()}; {_AGAIN}",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(1)

    def _who(self):
        silent = self.cluster.unanswering()
        return f": {', '.join(silent)} of TF_CONFIG does not answer" if silent else ""
