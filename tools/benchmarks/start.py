"""The training program from its start to the end of its first step, beside one of plain Keras, and its memory."""

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.machine import Size

_ROOT = Path(__file__).resolve().parents[2]
_PLAIN = ("tools/benchmarks/plain_program.py",)
_TURNS = 3
_ONE_STEP = ("--training_steps=1", "--rampup_steps=1", "--rampdown_steps=0", "--evaluation_steps=1")


def measure(size: Size, quick: bool) -> dict[str, float]:
    """Returns seconds to the first step and peak memory, on digits and on SVHN with extra of its true size."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir, cache_dir = Path(folder) / "data", Path(folder) / "cache"
        data_dir.mkdir()
        first_steps, plain_first_steps = [], []
        for turn in range(1 if quick else _TURNS):
            first_step, digits_memory = _train(f"{folder}/digits{turn}", "--flagfile=flags/digits_50.cfg", *_ONE_STEP)
            first_steps.append(first_step)
            plain_first_steps.append(_run(_PLAIN, "first step ended")[0])
        _write_svhn(data_dir, size, quick)
        svhn = (
            "--flagfile=flags/svhn_500_extra.cfg",
            f"--num_extra_unlabeled={size.examples_with_extra - size.examples}",
            "--width=0.125",  # As digits_50.cfg has it: the difference is that of the data.
            f"--data_dir={data_dir}",
            f"--cache_dir={cache_dir}",
            *_ONE_STEP,
        )
        decoding, first_memory = _train(f"{folder}/svhn", *svhn)
        cached, second_memory = _train(f"{folder}/svhn_again", *svhn)
    return {
        "seconds_to_first_step": statistics.median(first_steps),
        "seconds_to_first_step_plain_keras": statistics.median(plain_first_steps),
        "seconds_to_first_step_svhn_extra_decoding": decoding,
        "seconds_to_first_step_svhn_extra_cached": cached,
        "peak_rss_bytes_digits": digits_memory,
        "peak_rss_bytes_svhn_extra": max(first_memory, second_memory),
    }


def _train(run_dir, *flags):
    command = ("-m", "keras_mt.train", *flags, f"--run_dir={run_dir}")
    return _run(command, "compiling the first step took")


def _run(command, line_of_first_step):
    """Runs a program; returns seconds to the line that ends its first step, and its peak memory in bytes."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command], cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    peak = [0]
    watcher = threading.Thread(target=_watch, args=(process.pid, peak))
    watcher.start()
    errors = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    reader.start()
    first_step = None
    for line in process.stdout:
        if line.startswith(line_of_first_step):
            first_step = time.perf_counter() - start
    process.wait()
    watcher.join()
    reader.join()
    if process.returncode or first_step is None:
        raise SystemExit(f"{command} failed ({process.returncode}): {errors[0]}")
    return first_step, peak[0]


def _watch(pid, peak):
    """Reads the kernel's own record of the peak until the process is gone."""
    while True:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            return
        highest = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
        if not highest:  # Exited, not yet waited for.
            return
        peak[0] = max(peak[0], *highest)
        time.sleep(0.02)


def _write_svhn(folder, size, quick):
    """Writes .mat files of the true format and size, in a process of its own: it needs much memory."""
    sizes = {"train": size.examples, "test": 200 if quick else 26_032}
    sizes["extra"] = size.examples_with_extra - size.examples
    code = f"""
import numpy as np
from scipy.io import savemat
for split, size in {sizes!r}.items():
    images = np.frombuffer(np.random.default_rng(0).bytes(size * 3072), "uint8").reshape(32, 32, 3, size)
    labels = (np.arange(size) % 10 + 1).astype("uint8")[:, None]
    savemat("{folder}/" + split + "_32x32.mat", {{"X": images, "y": labels}})
"""
    subprocess.run([sys.executable, "-c", code], check=True)
