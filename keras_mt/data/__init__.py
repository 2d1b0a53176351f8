"""Images, label splits and batches of the experiments. Nothing here knows of networks."""

from keras_mt.data.batches import training_batches as training_batches
from keras_mt.data.dataset import Dataset as Dataset
from keras_mt.data.dataset import load_dataset as load_dataset
from keras_mt.data.label_split import choose_labeled as choose_labeled
from keras_mt.data.label_split import hold_out_validation as hold_out_validation
from keras_mt.data.two_stream import two_stream as two_stream
from keras_mt.data.whitening import fit_zca as fit_zca
