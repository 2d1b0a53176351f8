"""Kills a digits run at random moments, restarts it, and compares it with one that was left alone.

    python tools/chaos.py [--kills 20] [--steps 600] [--methods ...] [--precisions ...] [--runs runs/chaos]

Every other kill waits for the moment at which a checkpoint is being written. At the end student and teacher must be
the same bit for bit, and the evaluations the same text; exit status 1 if they are not. Small network: this shows that
runs survive, and nothing about errors.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
METHODS = ("mean_teacher", "pi", "temporal_ensembling", "supervised")
PRECISIONS = ("float32", "bfloat16")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "chaos")
    options = parser.parse_args()
    shutil.rmtree(options.runs, ignore_errors=True)
    options.runs.mkdir(parents=True)
    all_equal = True
    for method in options.methods:
        for precision in options.precisions:
            all_equal &= _compare(options, method, precision)
    return 0 if all_equal else 1


def _compare(options, method, precision):
    name = f"{method}-{precision}"
    flags = [
        "--dataset=digits", "--num_labels=50", "--width=0.0625", "--batch_size=50",
        f"--labeled_per_batch={50 if method == 'supervised' else 20}", f"--method={method}",
        f"--precision={precision}", "--max_consistency_weight=10", "--rampup_steps=100",
        f"--training_steps={options.steps}", "--evaluation_steps=50", "--checkpoint_steps=3",
    ]  # fmt: skip
    alone, killed = (options.runs / f"{name}-{kind}" for kind in ("alone", "killed"))
    start = time.monotonic()
    _start(flags, alone).wait()
    duration = time.monotonic() - start
    generator = random.Random(name)
    while_saving = 0
    for number in range(options.kills):
        started = time.time()
        process = _start(flags, killed)
        # Short enough for some to die before their first step.
        time.sleep(generator.uniform(0.1, 0.1 + min(duration, 8.0 + duration / options.kills)))
        unfinished = killed / "checkpoints" / "unfinished"
        patience = time.monotonic() + 30
        while (
            number % 2
            and not _written_since(unfinished, started)
            and process.poll() is None
            and time.monotonic() < patience
        ):
            time.sleep(0.0005)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        while_saving += _written_since(unfinished, started)
    else:
        number = options.kills
    status = _start(flags, killed).wait()
    hashes = [
        _hash(run / "checkpoints" / f"step-{options.steps}" / "state") if status == 0 else "failed"
        for run in (alone, killed)
    ]
    texts = [(run / "evaluations.csv").read_text() for run in (alone, killed)]
    equal = hashes[0] == hashes[1] != "failed" and texts[0] == texts[1]
    print(
        f"{name}: killed {number} times, {while_saving} of them while saving; weights alone {hashes[0]}, killed "
        f"{hashes[1]}; {'equal' if equal else 'NOT EQUAL'}",
        flush=True,
    )
    return equal


def _written_since(folder, started):
    """Whether a half-written checkpoint is there, and is not what an earlier kill left."""
    try:
        return folder.stat().st_ctime >= started
    except FileNotFoundError:
        return False


def _start(flags, run):
    command = [sys.executable, "-m", "keras_mt.train", *flags, f"--run_dir={run}"]
    with open(f"{run}.log", "a") as log:
        return subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        )


def _hash(checkpoint):
    """SHA-256 of all student's and teacher's weights of a checkpoint, its first 16 digits."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(checkpoint))
    digest = hashlib.sha256(checkpoint.parent.name.encode())
    for name in sorted(reader.get_variable_to_shape_map()):
        if name.startswith(("student", "teacher")):
            digest.update(reader.get_tensor(name).tobytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
