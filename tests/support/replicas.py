"""Trains a small network on a number of logical devices; run as a program, since devices are set before any use.

python tests/support/replicas.py RESULT.npz '{"replicas": 2, "network": "convnet"}'
"""

import functools
import json
import os
import sys

import keras
import numpy as np
import tensorflow as tf

import keras_mt
from keras_mt.architectures import convnet13
from keras_mt.data import Sampling, evaluation_batches, training_batches

STEPS = 20
DEFAULTS = {"arrays": False, "noise": False, "synchronized": True, "labeled_per_batch": 4, "model": {}}


def convnet(settings):
    noise = {"dropout": 0.5, "input_noise": 0.15, "translate": 2}
    quiet = {"dropout": 0.0, "input_noise": 0.0, "translate": 0}
    kind = noise if settings["noise"] else quiet
    return convnet13(
        (12, 12, 1),
        4,
        width=1 / 16,
        synchronized=settings["synchronized"],
        mean_momentum=0.9,
        preprocessing=(keras_mt.layers.ImageStandardization(),),
        **kind,
    )


def dense(settings):
    normalize = keras.layers.BatchNormalization(momentum=0.9, synchronized=settings["synchronized"])
    return keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(16),
            normalize,
            keras.layers.Dense(4),
        ]
    )


def plain(settings):
    return keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation="tanh"),
            keras.layers.Dense(4),
        ]
    )


def train(settings):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (96, 12, 12, 1)).astype("uint8")
    labels = random.integers(0, 4, 96).astype("int32")
    replicas = settings["replicas"]
    strategy = tf.distribute.get_strategy()
    if "TF_CONFIG" in os.environ:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    elif replicas > 1:
        strategy = tf.distribute.MirroredStrategy(tf.config.list_logical_devices("CPU")[:replicas])
    keras.utils.set_random_seed(3)
    with strategy.scope():
        student = {"convnet": convnet, "dense": dense, "plain": plain}[settings["network"]](settings)
        model = keras_mt.MeanTeacher(student, num_examples=96, seed=5, **settings["model"])
        model.compile(keras_mt.optimizers.NesterovSGD(0.005))
        batches = functools.partial(
            training_batches,
            images,
            labels,
            np.arange(0, 96, 3),
            Sampling(batch_size=16, labeled_per_batch=settings["labeled_per_batch"], seed=7),
            with_examples=settings["model"].get("method") == "temporal_ensembling",
        )
        data = keras_mt.distribution.distributed(batches)
        # 37 rows, which no number of replicas divides.
        evaluation = keras_mt.distribution.distributed(
            functools.partial(evaluation_batches, images[:37], labels[:37], batch_size=16)
        )
    callback = keras_mt.MeanTeacherCallback(10.0, rampup_steps=5, ema_decay=0.9, verbose=False)
    fit = {"epochs": 1, "verbose": 0, "shuffle": False, "callbacks": [callback]}
    if settings["arrays"]:  # What a user passes who thinks of no replicas.
        hidden = np.where(np.arange(96) % 3, -1, labels)
        history = model.fit(images, hidden, batch_size=16, **fit).history
    else:
        history = model.fit(data, steps_per_epoch=STEPS, **fit).history
    results = model.evaluate(evaluation, steps=3, verbose=0, return_dict=True)
    weights = {f"weight/{i}": w.numpy() for i, w in enumerate([*student.weights, *model.teacher.weights])}
    weights |= {f"history/{name}": np.array(values) for name, values in history.items()}
    weights |= {f"evaluation/{name}": np.array(value) for name, value in results.items()}
    weights["prediction"] = model.predict(images[:7], verbose=0)
    if model.prediction_ensembles:
        weights["visits"] = model.prediction_ensembles[0].visits.numpy()
        weights["averages"] = model.prediction_ensembles[0].averages.numpy()
    for i, weight in enumerate([*student.weights, *model.teacher.weights]):
        copies = strategy.experimental_local_results(weight.value)
        weights[f"drift/{i}"] = np.array([np.abs(copy.numpy() - copies[0].numpy()).max() for copy in copies])
    return weights


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
    np.savez(sys.argv[1], **train(DEFAULTS | json.loads(sys.argv[2])))
