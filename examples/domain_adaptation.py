"""Labels in one domain only: scikit-learn's handwritten digits have labels, MNIST has none; and the other way round.

python examples/domain_adaptation.py --direction=digits_to_mnist --seeds=0,1,2,3,4

Labeled and unlabeled pictures are forwarded separately, each under its own batch statistics; the teacher sees the
target domain alone, and has its running statistics (French, Mackiewicz & Fisher 2018, "Self-ensembling for visual
domain adaptation"). The supervised network beside it is trained on the source with the same views.
"""

import argparse

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

import keras_mt

SIZE, BATCH, STEPS = 16, 128, 1200


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
    return tuple((standardized(p["image"].numpy() / 255.0), p["label"].numpy().astype("int64")) for p in parts)


def standardized(images):
    """Pictures of one size, each with mean 0 and standard deviation 1."""
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
    for filters, pools in ((32, False), (32, True), (64, False), (64, True)):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
        x = keras.layers.MaxPooling2D()(x) if pools else x
    x = keras.layers.Dropout(0.5)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, keras.layers.Dense(10)(x))


def train(method: str, seed: int, source, target, steps: int) -> keras.Model:
    """Trains on labeled pictures of the source and, unless supervised, unlabeled pictures of the target."""
    adapts = method == "mean_teacher"
    model = keras_mt.MeanTeacher(
        network(seed),
        method=method,
        augmentation=view,
        reduction="labeled",
        seed=seed,
        **({"separate_passes": BATCH, "statistics_of": "unlabeled"} if adapts else {}),
        consistency=keras_mt.losses.Confident("mse", threshold=0.968),
        class_balance=0.005 if adapts else 0.0,
    )
    model.compile(keras.optimizers.Adam(0.001))
    if adapts:
        batches = keras_mt.data.two_stream(source, target[0], BATCH, 2 * BATCH, seed=seed)
    else:
        batches = tf.data.Dataset.from_tensor_slices(source).shuffle(10_000, seed).repeat().batch(BATCH)
    callback = keras_mt.MeanTeacherCallback(3.0 if adapts else 0.0, ema_decay=0.99, verbose=False)
    model.fit(batches, steps_per_epoch=steps, verbose=0, callbacks=[callback])
    return model


def main(arguments=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--direction", choices=("digits_to_mnist", "mnist_to_digits"), default="digits_to_mnist")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--data_dir", default=None, help="folder of TensorFlow Datasets; downloaded if it is not there")
    given = parser.parse_args(arguments)
    source, target = digits(), mnist(given.data_dir)
    if given.direction == "mnist_to_digits":
        source, target = target, source
    print(f"{given.direction}: test error on the target in %, {given.steps} steps")
    for seed in map(int, given.seeds.split(",")):
        row = []
        for method in ("supervised", "mean_teacher"):
            model = train(method, seed, source[0], target[0], given.steps)
            errors = model.evaluate(*target[1], batch_size=500, verbose=0, return_dict=True)
            row += [100 * errors["student_error"], 100 * errors["teacher_error"]]
        print(
            f"seed {seed}: source alone {row[0]:.1f} (its average {row[1]:.1f}), adapted student {row[2]:.1f}, "
            f"teacher {row[3]:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
