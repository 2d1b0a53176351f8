"""Optimizers of the experiments of Tarvainen & Valpola (2017) that Keras does not have."""

from keras_mt.optimizers.nesterov_sgd import NesterovSGD as NesterovSGD
from keras_mt.optimizers.scheduled_adam import ScheduledAdam as ScheduledAdam
