"""Ramps and schedules of Tarvainen & Valpola (2017), https://arxiv.org/abs/1703.01780, and of the later protocol.

A ramp is a function of the step; a schedule is a `keras.optimizers.schedules.LearningRateSchedule` made of ramps, for
an optimizer or for `MeanTeacherCallback`. Schedules return float32.
"""

from keras_mt.schedules.cosines import SevenSixteenthsCosine as SevenSixteenthsCosine
from keras_mt.schedules.cosines import WarmUpCosine as WarmUpCosine
from keras_mt.schedules.ramped import Delayed as Delayed
from keras_mt.schedules.ramped import LinearRampUp as LinearRampUp
from keras_mt.schedules.ramped import RampedBeta1 as RampedBeta1
from keras_mt.schedules.ramped import RampUpDown as RampUpDown
from keras_mt.schedules.ramps import cosine_rampdown as cosine_rampdown
from keras_mt.schedules.ramps import ema_warmup as ema_warmup
from keras_mt.schedules.ramps import linear_rampup as linear_rampup
from keras_mt.schedules.ramps import sigmoid_rampdown as sigmoid_rampdown
from keras_mt.schedules.ramps import sigmoid_rampup as sigmoid_rampup
from keras_mt.schedules.ramps import step_rampup as step_rampup
from keras_mt.schedules.switches import EMADecay as EMADecay
from keras_mt.schedules.switches import StepSwitch as StepSwitch
