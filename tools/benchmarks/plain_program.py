"""Plain Keras as one would write it without this package: the demo's data, network and noise, and one step.

`start` compares the training program's start with this program's, so nothing of this package is imported.
"""

import keras
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits

WIDTH, BATCH = 0.125, 64  # As digits_50.cfg has them.


def network() -> keras.Model:
    """The 13-layer ConvNet of Keras' own layers, with batch normalization in place of weight normalization."""
    x = inputs = keras.Input((16, 16, 1))
    x = layers.GaussianNoise(0.15)(layers.RandomTranslation(0.125, 0.125, fill_mode="constant")(x))
    for filters in (128, 256):
        for _ in range(3):
            x = convolution(x, filters, 3, "same")
        x = layers.Dropout(0.25)(layers.MaxPooling2D()(x))
    for filters, kernel in ((512, 3), (256, 1), (128, 1)):
        x = convolution(x, filters, kernel, "valid")
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def convolution(x, filters: int, kernel: int, padding: str):
    x = layers.Conv2D(round(filters * WIDTH), kernel, padding=padding, use_bias=False)(x)
    return layers.LeakyReLU(0.1)(layers.BatchNormalization()(x))


def main() -> None:
    images, labels = load_digits(return_X_y=True)
    images = tf.image.resize(images.reshape(-1, 8, 8, 1) / 16, (16, 16))
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(labels)).repeat().batch(BATCH)
    model = network()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.003), loss=loss, metrics=["accuracy"])
    said = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: print("first step ended", flush=True))
    model.fit(batches, steps_per_epoch=1, verbose=0, callbacks=[said])


if __name__ == "__main__":
    main()
