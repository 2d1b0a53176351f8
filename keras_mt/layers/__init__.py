"""Layers of the networks of Tarvainen & Valpola (2017) that Keras does not have.

Layers with noise draw it from a Keras `SeedGenerator`, which `MeanTeacher` sets anew in each pass.
"""

from keras_mt.layers.contrast_normalization import GlobalContrastNormalization as GlobalContrastNormalization
from keras_mt.layers.dropout import Dropout as Dropout
from keras_mt.layers.gaussian_noise import GaussianNoise as GaussianNoise
from keras_mt.layers.image_standardization import ImageStandardization as ImageStandardization
from keras_mt.layers.random_flip import RandomHorizontalFlip as RandomHorizontalFlip
from keras_mt.layers.random_translation import RandomPixelTranslation as RandomPixelTranslation
from keras_mt.layers.shake_shake import ShakeShake as ShakeShake
from keras_mt.layers.weight_normalization import WeightNormalizedConv2D as WeightNormalizedConv2D
from keras_mt.layers.weight_normalization import WeightNormalizedDense as WeightNormalizedDense
from keras_mt.layers.weight_normalization import initialize_from_batch as initialize_from_batch
from keras_mt.layers.zca_whitening import ZCAWhitening as ZCAWhitening
