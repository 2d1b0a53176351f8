"""Optimizers of the paper's experiments that Keras does not have."""

from keras_mt.optimizers.scheduled_adam import ScheduledAdam as ScheduledAdam
