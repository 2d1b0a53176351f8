"""Runs the programs the way a user does: in a process of their own."""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from support.forked import ROOT, Forked

# A sixteenth of the paper's width on digits: seconds, and no result to report.
TINY = (
    "--dataset=digits", "--num_labels=50", "--width=0.0625", "--batch_size=20", "--labeled_per_batch=10",
    "--training_steps=12", "--rampup_steps=6", "--evaluation_steps=5", "--checkpoint_steps=4",
    "--max_consistency_weight=5", "--ema_decay_during_rampup=0.5", "--ema_decay_after_rampup=0.5",
)  # fmt: skip


class Ended(NamedTuple):
    """How a program ended, by the names that finished processes have."""

    returncode: int
    stdout: str
    stderr: str


def _arguments(name, flags, environment):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2", **environment}
    return {"args": [sys.executable, "-m", f"keras_mt.{name}", *flags], "env": environment, "text": True, "cwd": ROOT}


def run_program(name, *flags, **environment):
    """Returns how `python -m keras_mt.<name>` ended."""
    process = start_program(name, *flags, **environment)
    try:
        out, err = process.communicate(timeout=600)
    finally:
        process.kill()  # Nothing to a process that has ended.
    return Ended(process.returncode, out, err)


def in_process(name, *flags) -> Ended:
    """Runs a program in this process, which spares seconds."""
    from keras_mt.experiments import cli

    out, err, status = io.StringIO(), io.StringIO(), 0
    level = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main(name, list(map(str, flags)))
    except SystemExit as error:
        status = error.code
    finally:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = level or "2"
    return Ended(status, out.getvalue(), err.getvalue())


def finished_run(folder, *flags):
    """Trains in a folder to the end of the run and returns the folder; what was printed lies beside it."""
    # Not forked: from its first line to its end it is what a user starts.
    process = run_program("train", *flags, f"--run_dir={folder}", PYTHONFAULTHANDLER="1")
    assert process.returncode == 0, process.stderr
    Path(f"{folder}.out").write_text(process.stderr + process.stdout)
    return folder


def start_program(name, *flags, **environment):
    """Returns the process as soon as it runs: forked, unless it has variables of its own."""
    if not environment:
        return Forked("-m", f"keras_mt.{name}", *flags)
    pipe = subprocess.PIPE
    return subprocess.Popen(**_arguments(name, flags, environment), stdout=pipe, stderr=pipe)


def free_ports(count):
    """Returns ports that nobody listens on, none twice."""
    sockets = [socket.socket() for _ in range(count)]
    for number in sockets:
        number.bind(("127.0.0.1", 0))
    ports = [number.getsockname()[1] for number in sockets]
    for number in sockets:
        number.close()
    return ports


def tf_config(ports, index):
    """Returns `TF_CONFIG` of one of several workers on this machine."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})


def start_workers(count, folder, *flags, own=()):
    """Starts `python -m keras_mt.train` on several workers, each with a run directory of its own, and returns all.

    `own` are flags of one worker each, after those of all.
    """
    ports, own = free_ports(count), own or [()] * count
    return [
        start_program(
            "train",
            *flags,
            *own[index],
            f"--run_dir={folder / f'worker-{index}'}",
            TF_CONFIG=tf_config(ports, index),
            PYTHONFAULTHANDLER="1",  # A crash inside of TensorFlow tells where.
        )
        for index in range(count)
    ]


def succeed(processes):
    """Waits for workers and asserts that all of them ended well."""
    errors = finish_workers(processes)
    statuses = [process.returncode for process in processes]
    # Not the first one's words alone: a worker that crashed makes the others fail.
    told = "\n".join(f"worker {index}: {text[-3000:]}" for index, text in enumerate(errors))
    assert statuses == [0] * len(processes), f"{statuses}\n{told}"


def finish_workers(processes):
    """Waits for workers and returns what each wrote to stderr."""
    return [process.communicate(timeout=300)[1] for process in processes]


def final_weights(run, networks=("student", "teacher")):
    """Returns student's and teacher's weights of the newest checkpoint by name."""
    import tensorflow as tf

    steps = [path.name.removeprefix("step-") for path in (run / "checkpoints").glob("step-*")]
    newest = run / "checkpoints" / f"step-{max(int(step) for step in steps if step.isdigit())}"
    reader = tf.train.load_checkpoint(str(newest / "state"))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith(networks)]
    assert len(names) > 25 * len(networks)
    return {name: reader.get_tensor(name) for name in names}


def same_run(first_run, second_run):
    """Asserts that two runs ended with the same weights, bit for bit, and wrote the same costs and errors."""
    first, second = final_weights(first_run), final_weights(second_run)
    assert first.keys() == second.keys()
    other = [name for name in first if first[name].tobytes() != second[name].tobytes()]
    assert not other, (
        f"{len(other)} of {len(first)} differ, {other[0]} by {abs(first[other[0]] - second[other[0]]).max()}"
    )
    assert (first_run / "evaluations.csv").read_text() == (second_run / "evaluations.csv").read_text()
