"""Networks of the experiments: functions that return plain Keras models which take images and give logits."""

from keras_mt.architectures.convnet import convnet13 as convnet13
from keras_mt.architectures.resnext152 import resnext152 as resnext152
from keras_mt.architectures.shake_shake26 import shake_shake26 as shake_shake26
from keras_mt.architectures.wide_resnet28 import wide_resnet28 as wide_resnet28

ARCHITECTURES = {
    "convnet13": convnet13,
    "shake_shake26": shake_shake26,
    "resnext152": resnext152,
    "wide_resnet28": wide_resnet28,
}
