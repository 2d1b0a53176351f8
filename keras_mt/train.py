"""Trains one experiment: `python -m keras_mt.train --help`."""

from keras_mt.experiments.cli import main

if __name__ == "__main__":
    main("train")
