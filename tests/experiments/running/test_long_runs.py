"""Long runs stay flat: a soak of 20,000 tiny steps with evaluations and checkpoints."""

import os
import re
import statistics
import time
from pathlib import Path

import pytest
from support.programs import TINY, start_program

STEPS, INTERVAL = 20_000, 200


def _resources(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    memory, threads = (int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "Threads"))
    return memory, threads, len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.slow
def test_memory_handles_threads_and_step_time_stay_flat_over_20000_steps(tmp_path):
    flags = [
        *TINY,
        f"--training_steps={STEPS}",
        f"--evaluation_steps={INTERVAL}",
        "--checkpoint_steps=100",
        f"--run_dir={tmp_path / 'run'}",
    ]
    process = start_program("train", *flags)
    measured, before = [], None
    for line in process.stdout:
        found = re.match(rf"step (\d+)/{STEPS}:", line)
        if found and int(found[1]) < STEPS:  # Afterwards come export and curves.
            now = time.monotonic()
            measured.append((int(found[1]), now - (before or now), *_resources(process.pid)))
            before = now
    assert process.wait() == 0, process.stderr.read()
    settled = [row for row in measured if row[0] >= 1000]
    memory, threads, handles = ([row[column] for row in settled] for column in (2, 3, 4))
    seconds = [row[1] for row in settled]
    first, last = (statistics.median(part) for part in (seconds[:20], seconds[-20:]))
    print(
        f"memory {memory[0]} kB after 1,000 steps, at most {max(memory)}, {memory[-1]} at the end; "
        f"threads {threads[0]} to {max(threads)}; handles {handles[0]} to {max(handles)}; "
        f"{INTERVAL} steps took {first:.2f} s, then {last:.2f} s"
    )
    assert memory[-1] < 1.01 * memory[0]
    assert max(threads) <= threads[0]
    assert max(handles) <= handles[0]
    # No time is asserted: a machine may be busy. A leak shows in the figures above.
