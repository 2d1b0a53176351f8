"""The main job: a Mean Teacher against the same network trained on the labels alone, on 50 labeled digits.

`make demo` calls it. It runs the two flagfiles below with the training program, then prints a table and draws the
curves of both runs. Given again it shows the finished runs; remove the folder of --runs to train anew.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNS = {"supervised": "digits_50_supervised", "mean_teacher": "digits_50"}
# Row of the table: run, network.
ROWS = {
    "supervised": ("supervised", "student"),
    "supervised, averaged weights": ("supervised", "teacher"),
    "Mean Teacher, student": ("mean_teacher", "student"),
    "Mean Teacher, teacher": ("mean_teacher", "teacher"),
}


def train(runs: Path) -> None:
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ}
    for name, flagfile in RUNS.items():
        command = [
            sys.executable,
            "-m",
            "keras_mt.train",
            f"--flagfile=flags/{flagfile}.cfg",
            f"--run_dir={runs / name}",
        ]
        print("$ python " + " ".join(command[1:]), flush=True)
        status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        if status:
            sys.exit(status)


def print_table(runs: Path) -> None:
    results = {name: json.loads((runs / name / "results.json").read_text()) for name in RUNS}
    print(f"\nHandwritten digits, 50 labels: error on 599 test images\n\n  {'network':<30} error")
    for row, (run, network) in ROWS.items():
        print(f"  {row:<30} {results[run][network]['error']:.2f} %")


def draw(runs: Path) -> Path:
    from matplotlib.figure import Figure

    from keras_mt.experiments import colors
    from keras_mt.experiments.running.curves import label_axes
    from keras_mt.experiments.running.evaluation_rows import read_rows

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    quantities = (("classification_cost", "classification cost"), ("error", "error (%)"))
    for axis, (quantity, label) in zip(axes, quantities, strict=True):
        for row, (run, network) in ROWS.items():
            rows = read_rows(runs / run / "evaluations.csv")
            color = colors.SUPERVISED if run == "supervised" else colors.NETWORKS[network]
            style = "--" if network == "student" else "-"
            values = [r[f"{network}_{quantity}"] for r in rows]
            axis.plot([r["step"] for r in rows], values, style, color=color, label=row)
        label_axes(axis, label)
    axes[1].legend()
    figure.suptitle("Digits with 50 labels, test split")
    path = runs / "curves.png"
    figure.savefig(path, dpi=120)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/demo"), help="folder of the two runs")
    runs = parser.parse_args().runs.resolve()
    train(runs)
    path = draw(runs)
    print_table(runs)
    print(f"\ncurves: {path}")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
