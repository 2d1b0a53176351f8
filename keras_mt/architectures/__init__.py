"""Networks of the experiments: functions that return plain Keras models which take images and give logits."""

from keras_mt.architectures.convnet import convnet13 as convnet13

ARCHITECTURES = {"convnet13": convnet13}
