"""`fit`, `evaluate` and `predict` on several devices and machines, where Keras alone fails or is not exact."""

from collections.abc import Callable

import keras
import tensorflow as tf

from keras_mt import tasks, xla
from keras_mt.structures import first_tensor, map_tensors

# An iterator of TensorFlow 2.21 that is deleted while it reads ahead for the devices can end the process: its
# background thread then reads from what is freed (MultiDeviceIterator). `fit` deletes one each time it looks at the
# first batch. The pipelines themselves read ahead.
_READ_NOTHING_AHEAD = tf.distribute.InputOptions(experimental_per_replica_buffer_size=0)


def several_workers() -> bool:
    """Whether the active strategy spans several machines.

    Example:

    ```python
    from keras_mt.distribution import several_workers

    several_workers()  # False without a strategy.
    ```
    """
    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return False
    workers = strategy.cluster_resolver.cluster_spec().as_dict()
    return sum(len(workers.get(kind, ())) for kind in ("chief", "worker")) > 1


def sum_over_replicas(values: list) -> list:
    """Returns scalars summed over the replicas of the active strategy, in one reduction.

    Example:

    ```python
    import tensorflow as tf

    from keras_mt.distribution import sum_over_replicas

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    strategy.run(lambda: sum_over_replicas([tf.constant(2.0)]))  # [2.0]: of one replica.
    ```
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1 or not values:
        return values
    stacked = tf.stack([tf.cast(value, "float32") for value in values])
    return tf.unstack(replica.all_reduce(tf.distribute.ReduceOp.SUM, stacked))


def distributed(make: Callable[..., tf.data.Dataset]) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Returns what `fit` takes, made by each machine for its own devices: no machine reads the others' shards.

    To be called in the scope of the strategy.

    Args:
        make: Takes `num_replicas` and `replicas`, the numbers of some of them, and returns a data set of their shares
            of the batches in turn, as `keras_mt.data.training_batches` does.

    Example:

    ```python
    import functools

    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1)).astype("uint8")
    classes, labeled = np.arange(60) % 3, np.arange(12)
    sampling = keras_mt.data.Sampling(batch_size=16, labeled_per_batch=4, seed=0)
    make = functools.partial(keras_mt.data.training_batches, images, classes, labeled, sampling)

    strategy = tf.distribute.MirroredStrategy()
    with strategy.scope():
        layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(3)]
        model = keras_mt.MeanTeacher(keras.Sequential([keras.Input((8, 8, 1)), *layers]))
        model.compile("sgd")
        batches = keras_mt.distribution.distributed(make)
    model.fit(batches, steps_per_epoch=10, callbacks=[keras_mt.MeanTeacherCallback(consistency_weight=1.0)])
    ```
    """
    strategy = tf.distribute.get_strategy()
    num_replicas = strategy.num_replicas_in_sync
    if num_replicas == 1:
        return make(num_replicas=1, replicas=(0,))

    def of_machine(context):
        here = num_replicas // context.num_input_pipelines
        first = here * context.input_pipeline_id
        return make(num_replicas=num_replicas, replicas=range(first, first + here))

    return strategy.distribute_datasets_from_function(of_machine, _READ_NOTHING_AHEAD)


class ReplicatedModel:
    """What a Keras model needs beside its steps to be trained on several replicas.

    Keras fails twice under `MultiWorkerMirroredStrategy` (https://github.com/keras-team/keras/issues/20585): it sums
    the batches of all replicas only to see their shape, and reduces the logs of a step, which are scalars, over an
    axis. And everywhere it reports the mean of what the replicas measured as the result of an epoch, which is the mean
    over all examples only if all replicas got as many. Here the metrics themselves are asked, which sum over replicas.
    """

    _reported = None
    _under_strategy = False
    findings = None

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # A private method, and the version of Keras is pinned: there is no public place to do it.
        if iterator is not None and self._under_strategy:
            iterator.reset()  # A cached one was read to its end before.
            for _, _, batches in iterator:
                data_batch = tf.nest.map_structure(self._of_one_replica, next(batches))
                break
            self.before_first_step(data_batch)
        super()._maybe_symbolic_build(data_batch=data_batch)

    def before_first_step(self, batch) -> None:
        """Called under a strategy with the first batch of one replica, before `fit` or `evaluate` begins."""

    def after_callbacks_began(self) -> None:
        """Called before a function that trains runs for the first time."""

    def check_compiled(self, optimizer: keras.optimizers.Optimizer, jit_compile) -> None:
        """Refuses what neither Keras nor TensorFlow can do on replicas, and would tell in other words.

        Args:
            optimizer: That of `compile`.
            jit_compile: Likewise.

        Raises:
            ValueError: If gradients are to accumulate, or steps to be compiled by XLA, under a mirrored strategy.
        """
        kinds = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
        if not self._under_strategy or not isinstance(self.distribute_strategy, kinds):
            return
        name = type(self.distribute_strategy).__name__
        steps = getattr(optimizer, "inner_optimizer", optimizer).gradient_accumulation_steps
        if steps:
            raise ValueError(
                f"Gradients can't be accumulated under a {name}: leave out `gradient_accumulation_steps` and make "
                f"batches as large as several. Received: an optimizer with gradient_accumulation_steps={steps}"
            )
        if jit_compile and jit_compile != "auto":
            raise ValueError(
                f'Steps can\'t be compiled by XLA under a {name}: leave `jit_compile` at "auto", or use no strategy on '
                f"one device. Received: jit_compile={jit_compile}"
            )

    def check_scope(self, trained: dict, wrapping: bool = False) -> None:
        """Refuses to train variables of one strategy under another, of which TensorFlow says nothing in words.

        What is only read, as an adapted layer or a frozen backbone, may have been made anywhere.

        Args:
            trained: The weights of each network that training changes, by what it is called.
            wrapping: Whether networks are being wrapped; a model may be trained outside of the scope it was made in.

        Raises:
            ValueError: If one was made in another scope than the present one.
        """
        strategy = tf.distribute.get_strategy()
        if isinstance(strategy, tf.distribute.OneDeviceStrategy):  # It takes any variable.
            return
        if tf.distribute.has_strategy():
            fits = strategy.extended.variable_created_in_scope
            found = f"made outside of that of the present {type(strategy).__name__}"
        elif wrapping:
            fits, found = _of_no_strategy, "wrapped outside of the scope that it was made in"
        else:
            return
        for name, weights in trained.items():
            if not all(fits(weight.value) for weight in weights):
                raise ValueError(
                    f"The {name} must be built or loaded, wrapped and compiled inside of the scope of one strategy. "
                    f"Received: a network {found}"
                )

    def check_shares(self, layers, examples: int, batch_size: int) -> None:
        """Checks that each replica gets examples of each batch of arrays, if the network needs some.

        Convolutions and pooling fail on no rows at all, some by ending the process.

        Args:
            layers: All layers of the network.
            examples: Number of examples of an epoch.
            batch_size: Number of examples of a batch of all replicas.

        Raises:
            ValueError: If a replica would get none.
        """
        replicas = self.distribute_strategy.num_replicas_in_sync
        rest = examples % batch_size
        # Replicas are filled one after the other; the last gets what is left.
        if not rest or rest > batch_size - batch_size // replicas or not any(map(_needs_rows, layers)):
            return
        raise ValueError(
            f"{self._too_few()} Leave some examples out or choose another `batch_size`, so that none or more "
            f"are left over. Received: {examples} examples in batches of {batch_size}, which leaves {rest}"
        )

    def require_rows(self, x, layers):
        """Returns the examples of one replica, checked inside of a compiled step as `check_shares` checks arrays.

        Args:
            x: What the network takes.
            layers: All layers of the network.
        """
        if not self._under_strategy or not any(map(_needs_rows, layers)):
            return x
        sentence = (
            f"{self._too_few()} Batch the data set with `drop_remainder=True`, or so that more are left over. "
            "Received: examples of a replica: "
        )
        rows = tf.shape(first_tensor(x))[0]
        operations = tasks.require(rows > 0, sentence, rows)
        with tf.control_dependencies(operations):
            return map_tensors(tf.identity, x)

    def _too_few(self):
        return (
            "Convolutions and pooling cannot be trained on no examples, and the last batch has too few for each of the "
            f"{self.distribute_strategy.num_replicas_in_sync} replicas."
        )

    def _of_one_replica(self, values):
        return self.distribute_strategy.experimental_local_results(values)[0]

    def make_train_function(self, force=False):
        with xla.left_to_steps(self):
            super().make_train_function(force)
        self.train_function = self._reporting(self.train_function, "training")

    def make_test_function(self, force=False):
        with xla.left_to_steps(self):
            super().make_test_function(force)
        self.test_function = self._reporting(self.test_function, "evaluation")

    def _reporting(self, function, what):
        if isinstance(function, _Reporting):
            return function
        return _Reporting(self, function, what)

    def logs_of_replica(self, logs: dict) -> dict:
        """Returns a step's logs in the shape that Keras can reduce."""
        return tf.nest.map_structure(lambda value: tf.reshape(value, (1,)), logs) if several_workers() else logs


def _of_no_strategy(variable):
    return not isinstance(variable, tf.distribute.DistributedValues)


def _needs_rows(layer):
    names = [kind.__name__ for kind in type(layer).__mro__]
    return any("Conv" in name or name.startswith(("MaxPooling", "AveragePooling")) for name in names)


class _Reporting:
    """A compiled function of a model that first says what it is about to measure."""

    def __init__(self, model, function, what):
        self.model, self.function, self.what = model, function, what
        self.ran = False

    def __call__(self, iterator):
        self.model._reported = self.what
        if self.what == "training":  # Callbacks have begun: they may have unfrozen layers.
            _build_optimizer(self.model)
        if self.what == "training" and not self.ran:
            self.model.after_callbacks_began()
        self.ran = True
        return self.function(iterator)


def _build_optimizer(model):
    """Makes the optimizer's variables: those made in the first trace of a step would have it traced once more."""
    if not model.optimizer.built and model.trainable_variables:
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)
