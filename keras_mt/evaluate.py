"""Evaluates what a run saved: `python -m keras_mt.evaluate --help`."""

from keras_mt.experiments.cli import main

if __name__ == "__main__":
    main("evaluate")
