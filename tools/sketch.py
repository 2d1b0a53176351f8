"""Draws what two labeled points and many unlabeled ones teach a small network under each method.

    python tools/sketch.py [--out docs/sketch.png]

After figure 1 of Tarvainen & Valpola (2017), a two-class toy problem: here two interleaved half circles, of which one
point each is labeled. A sketch: one seed, settings chosen so that consistency does its work on these very points; it
shows what the methods do, and nothing about which is better. The adversarial perturbation stands in place of the noise
on the input that the others have.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras
import numpy as np
import tensorflow as tf

import keras_mt

TITLES = {
    "supervised": "supervised",
    "pi": "Π model",
    "temporal_ensembling": "temporal ensembling",
    "mean_teacher": "Mean Teacher (teacher)",
    "interpolation": "interpolation (teacher)",
    "vat": "virtual adversarial",
}
# What a panel is, where it is not a method of that name.
METHODS = {"interpolation": "mean_teacher"}
ADDED = {
    "interpolation": {"mixing": keras_mt.mixing.Interpolation(alpha=0.1)},
    "vat": {"perturbation": keras_mt.VirtualAdversarial(epsilon=0.2), "consistency": "kl"},
}
WEIGHTS = {"supervised": 0.0, "vat": 5.0}
POINTS, STEPS = 300, 3000
# Of the two classes, color-blind safe (Okabe & Ito); student's and teacher's mean something else in the other figures.
COLORS = ("#D55E00", "#009E73")


def half_circles() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns points `[n, 2]`, their classes, and labels that hide all but the middle point of each class."""
    random = np.random.default_rng(0)
    angle = np.linspace(0, np.pi, POINTS // 2)
    first = np.stack([np.cos(angle), np.sin(angle)], 1)
    second = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], 1)
    points = np.concatenate([first, second]) + random.normal(0, 0.06, (POINTS, 2))
    classes = np.repeat([0, 1], POINTS // 2)
    labels = np.full(POINTS, -1)
    labels[[POINTS // 4, 3 * POINTS // 4]] = 0, 1
    return points.astype("float32"), classes, labels


def train(panel: str, points: np.ndarray, labels: np.ndarray) -> keras.Model:
    """Trains a small network as a panel shows it and returns the network to draw."""
    keras.utils.set_random_seed(0)
    method = METHODS.get(panel, panel)
    student = keras.Sequential(
        [
            keras.Input((2,)),
            keras_mt.layers.GaussianNoise(0.0 if panel == "vat" else 0.1),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(2),
        ]
    )
    model = keras_mt.MeanTeacher(student, method=method, num_examples=len(points), **ADDED.get(panel, {}))
    model.compile(keras.optimizers.Adam(0.01))
    callback = keras_mt.MeanTeacherCallback(
        WEIGHTS.get(panel, 30.0), rampup_steps=STEPS // 5, ema_decay=0.95, verbose=False
    )
    x = (points, np.arange(len(points))) if method == "temporal_ensembling" else points
    batches = tf.data.Dataset.from_tensors((x, labels)).repeat()
    model.fit(batches, steps_per_epoch=STEPS, verbose=0, shuffle=False, callbacks=[callback])
    return model.teacher if method == "mean_teacher" else model.student


def draw(networks: dict[str, keras.Model], points: np.ndarray, classes: np.ndarray, labels: np.ndarray, path: Path):
    """Draws the decision function of each network over the plane; returns the share of points each gets wrong."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 5.8), layout="constrained")
    horizontal, vertical = np.meshgrid(np.linspace(-1.5, 2.5, 200), np.linspace(-1.1, 1.6, 135))
    grid = np.stack([horizontal.ravel(), vertical.ravel()], 1).astype("float32")
    colors = LinearSegmentedColormap.from_list("classes", [COLORS[0], "#FFFFFF", COLORS[1]])
    errors = {}
    for axis, (method, network) in zip(figure.subplots(2, 3, sharey=True).ravel(), networks.items(), strict=True):
        probability = keras.ops.softmax(network(grid))[:, 1].numpy().reshape(horizontal.shape)
        axis.contourf(horizontal, vertical, probability, np.linspace(0, 1, 21), cmap=colors, alpha=0.75)
        axis.contour(horizontal, vertical, probability, [0.5], colors="black", linewidths=1.2)
        axis.scatter(*points[labels < 0].T, s=7, color="#555555", linewidths=0)
        for label, marker in enumerate("os"):
            shown = points[labels == label]
            axis.scatter(*shown.T, s=130, marker=marker, color=COLORS[label], edgecolors="black", linewidths=1.5)
        errors[method] = float(np.mean(network(points).numpy().argmax(1) != classes))
        axis.set_title(f"{TITLES[method]}: {100 * errors[method]:.0f} % wrong")
        axis.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=110)
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("sketch.png"), help="PNG file to write")
    options = parser.parse_args()
    points, classes, labels = half_circles()
    networks = {panel: train(panel, points, labels) for panel in TITLES}
    errors = draw(networks, points, classes, labels, options.out)
    for method, error in errors.items():
        print(f"{TITLES[method]:<24} {100 * error:.1f} % of {POINTS} points wrong")
    print(f"drawn in {options.out}")


if __name__ == "__main__":
    main()
