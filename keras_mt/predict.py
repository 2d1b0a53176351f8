"""Says what is on pictures: `python -m keras_mt.predict --help`."""

from keras_mt.experiments.cli import main

if __name__ == "__main__":
    main("predict")
