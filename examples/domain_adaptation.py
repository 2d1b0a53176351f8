"""Labels in one domain only: scikit-learn's handwritten digits have labels, MNIST has none; and the other way round.

python examples/domain_adaptation.py --direction=digits_to_mnist --seeds=0,1,2,3,4

Labeled and unlabeled pictures are forwarded separately, each under its own batch statistics; the teacher sees the
target domain alone, and has its running statistics (French, Mackiewicz & Fisher 2018, "Self-ensembling for visual
domain adaptation"). Beside it are a supervised network of the source with the same
views, and one that has the target's statistics and nothing else.
"""

import argparse

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

import keras_mt

METHODS = ("supervised", "statistics", "mean_teacher")
SIZE, BATCH, STEPS = 16, 128, 1600
SETTINGS = {"digits_to_mnist": (100.0, 0.8), "mnist_to_digits": (10.0, 0.968)}  # Consistency weight, threshold.
MARGIN = 3  # Of the pixels that MNIST's makers left around a digit; scikit-learn's digits have none.


def digits():
    """Returns pictures `[1797, 16, 16, 1]` and their classes, split into two to train and to test on."""
    images, classes = load_digits(return_X_y=True)
    images = standardized(images.reshape(-1, 8, 8, 1) / 16.0)
    seen = np.arange(len(images)) % 3 < 2
    return (images[seen], classes[seen]), (images[~seen], classes[~seen])


def mnist(data_dir):
    """Returns the same of MNIST, of TensorFlow Datasets."""
    import tensorflow_datasets as tfds

    parts = tfds.load("mnist", split=["train", "test"], batch_size=-1, data_dir=data_dir)
    inside = slice(MARGIN, -MARGIN)
    return tuple(
        (standardized(p["image"].numpy()[:, inside, inside] / 255.0), p["label"].numpy().astype("int64")) for p in parts
    )


def standardized(images):
    """Pictures `[N, 16, 16, 1]`, each with mean 0 and standard deviation 1."""
    images = tf.image.resize(images, (SIZE, SIZE), antialias=True).numpy()
    return (images - images.mean(axis=(1, 2, 3), keepdims=True)) / images.std(axis=(1, 2, 3), keepdims=True)


def view(images, seed):
    """A random affine transformation of each picture (matrix ± 0.1, translation ± 2 pixels), and Gaussian noise."""
    rows = tf.shape(images)[0]
    matrix = tf.random.stateless_normal((rows, 4), seed, stddev=0.1)
    shift = tf.random.stateless_uniform((rows, 2), seed + 1, -2.0, 2.0)
    a, b, c, d = (matrix[:, k] + float(k in (0, 3)) for k in range(4))
    middle = (SIZE - 1) / 2
    rest = tf.zeros((rows, 2))
    transform = [
        a,
        b,
        middle - a * middle - b * middle + shift[:, 0],
        c,
        d,
        middle - c * middle - d * middle + shift[:, 1],
    ]
    images = keras.ops.image.affine_transform(
        images, tf.concat([tf.stack(transform, axis=1), rest], axis=1), fill_mode="nearest"
    )
    return images + tf.random.stateless_normal(tf.shape(images), seed + 2, stddev=0.1)


def network(seed: int) -> keras.Model:
    """A small convolutional network with batch normalization."""
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((SIZE, SIZE, 1))
    for filters, size, pools in ((16, 5, True), (32, 3, False), (32, 3, True)):
        x = keras.layers.Conv2D(filters, size, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(keras.layers.MaxPooling2D()(x) if pools else x)
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(x))
    x = keras.layers.Dense(128, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(10)(x))


def train(method: str, seed: int, source, target, steps: int, direction: str = "digits_to_mnist") -> keras.Model:
    """Trains on labeled pictures of the source.

    Args:
        method: `"supervised"`: on these alone; `"statistics"`: with running statistics of unlabeled pictures of the
            target; `"mean_teacher"`: with the consistency cost on these, too.
        seed: Of weights, batches and noise.
        source: Pictures and classes.
        target: Pictures.
        steps: Number of batches.
        direction: Whose settings are taken.

    Returns:
        The trained `MeanTeacher`.
    """
    weight, threshold = SETTINGS[direction]
    adapts = method == "mean_teacher"
    sees_target = method != "supervised"
    model = keras_mt.MeanTeacher(
        network(seed),
        method="mean_teacher" if adapts else "supervised",
        augmentation=view,
        reduction="labeled",
        seed=seed,
        **({"separate_passes": BATCH, "statistics_of": "unlabeled"} if sees_target else {}),
        consistency=keras_mt.losses.Confident("mse", threshold=threshold),
        class_balance=0.05 if adapts else 0.0,
    )
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.003, steps)))
    if sees_target:
        batches = keras_mt.data.two_stream(source, target, BATCH, 2 * BATCH, seed=seed)
    else:
        batches = tf.data.Dataset.from_tensor_slices(source).shuffle(10_000, seed).repeat().batch(BATCH)
    callback = keras_mt.MeanTeacherCallback(weight if adapts else 0.0, ema_decay=0.99, verbose=False)
    model.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False, callbacks=[callback])
    return model


def main(arguments=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--direction", choices=tuple(SETTINGS), default="digits_to_mnist")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--data_dir", default=None, help="folder of TensorFlow Datasets; downloaded if it is not there")
    given = parser.parse_args(arguments)
    source, target = digits(), mnist(given.data_dir)
    if given.direction == "mnist_to_digits":
        source, target = target, source
    shapes = [len(part[0]) for part in (source[0], target[0], target[1])]
    print("{}: {} labeled, {} unlabeled and {} test pictures, {} steps".format(given.direction, *shapes, given.steps))
    print("test error on the target in %: network, average of its weights")
    rows = []
    for seed in map(int, given.seeds.split(",")):
        row = []
        for method in given.methods:
            model = train(method, seed, source[0], target[0][0], given.steps, given.direction)
            errors = model.evaluate(*target[1], batch_size=500, verbose=0, return_dict=True)
            row.append([100 * errors["student_error"], 100 * errors["teacher_error"]])
        rows.append(row)
        print(f"seed {seed}: {in_words(given.methods, row)}", flush=True)
    print(f"mean:   {in_words(given.methods, np.mean(rows, axis=0))}")
    if len(rows) > 1:
        print(f"std:    {in_words(given.methods, np.std(rows, axis=0, ddof=1))}")


def in_words(methods, row) -> str:
    """Returns the errors of the methods on a line: of each network, and of the average of its weights."""
    return "; ".join(
        f"{name} {student:.1f} {average:.1f}" for name, (student, average) in zip(methods, row, strict=True)
    )


if __name__ == "__main__":
    main()
