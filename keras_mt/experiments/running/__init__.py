"""The parts of the programs `keras_mt.train` and `keras_mt.evaluate`."""
