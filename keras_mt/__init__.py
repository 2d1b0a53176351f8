"""Mean Teacher for Keras: semi-supervised learning with an averaged teacher (Tarvainen & Valpola 2017)."""

from keras_mt import architectures as architectures
from keras_mt import distribution as distribution
from keras_mt import layers as layers
from keras_mt import losses as losses
from keras_mt import optimizers as optimizers
from keras_mt import schedules as schedules
from keras_mt.callback import MeanTeacherCallback as MeanTeacherCallback
from keras_mt.mean_teacher import MeanTeacher as MeanTeacher
from keras_mt.version import __version__ as __version__
