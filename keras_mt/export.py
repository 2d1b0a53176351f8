"""Exports a network of a run: `python -m keras_mt.export --help`."""

from keras_mt.experiments.cli import main

if __name__ == "__main__":
    main("export")
