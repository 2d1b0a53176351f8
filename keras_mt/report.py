"""Reports on finished runs: `python -m keras_mt.report --help`."""

from keras_mt.experiments.cli import main

if __name__ == "__main__":
    main("report")
