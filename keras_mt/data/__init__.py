"""Label splits and batches for a user's own code. Nothing here knows of files or networks."""

from keras_mt.data.batches import evaluation_batches as evaluation_batches
from keras_mt.data.batches import training_batches as training_batches
from keras_mt.data.batches import training_indices as training_indices
from keras_mt.data.label_split import choose_labeled as choose_labeled
from keras_mt.data.label_split import hold_out_validation as hold_out_validation
from keras_mt.data.sampling import Sampling as Sampling
from keras_mt.data.two_stream import two_stream as two_stream
from keras_mt.data.whitening import contrast_normalize as contrast_normalize
from keras_mt.data.whitening import fit_zca as fit_zca
