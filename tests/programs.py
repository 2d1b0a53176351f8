"""Runs the programs the way a user does: in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# A sixteenth of the paper's width on digits: seconds, and no result to report.
TINY = (
    "--dataset=digits", "--num_labels=50", "--width=0.0625", "--batch_size=20", "--labeled_per_batch=10",
    "--training_steps=12", "--rampup_steps=6", "--evaluation_steps=5", "--checkpoint_steps=4",
    "--max_consistency_weight=5",
)  # fmt: skip


def run_program(name, *flags, cwd=ROOT, **environment):
    """Returns the finished process of `python -m keras_mt.<name>`."""
    return subprocess.run(
        [sys.executable, "-m", f"keras_mt.{name}", *flags],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2", **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
