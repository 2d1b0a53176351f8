"""Runs all experiments of a sweep: `python -m keras_mt.sweep --help`."""

from keras_mt.experiments.cli import main

if __name__ == "__main__":
    main("sweep")
