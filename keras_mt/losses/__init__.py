"""The costs of the method as Keras losses."""

from keras_mt.losses.classification import ClassificationCost as ClassificationCost
from keras_mt.losses.classification import classification_errors as classification_errors
from keras_mt.losses.classification import mask_unlabeled as mask_unlabeled
from keras_mt.losses.classification import signed as signed
from keras_mt.losses.confidence import Confident as Confident
from keras_mt.losses.consistency import KLConsistency as KLConsistency
from keras_mt.losses.consistency import MSEConsistency as MSEConsistency
from keras_mt.losses.consistency import TrustConsistency as TrustConsistency
from keras_mt.losses.consistency import get_consistency as get_consistency
from keras_mt.losses.labeled_positions import LabeledPositions as LabeledPositions
from keras_mt.losses.logit_distance import LogitDistance as LogitDistance
from keras_mt.losses.multilabel import MultiLabelCost as MultiLabelCost
from keras_mt.losses.multilabel import SigmoidKLConsistency as SigmoidKLConsistency
from keras_mt.losses.multilabel import SigmoidMSEConsistency as SigmoidMSEConsistency
from keras_mt.losses.multilabel import mask_unknown as mask_unknown
from keras_mt.losses.regression import OutputMSEConsistency as OutputMSEConsistency
from keras_mt.losses.regression import RegressionCost as RegressionCost
from keras_mt.losses.regression import mask_missing as mask_missing
