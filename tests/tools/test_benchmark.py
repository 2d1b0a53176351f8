import json
import subprocess
import sys

import pytest
from support.programs import ROOT


@pytest.mark.slow
def test_the_quick_benchmark_measures_everything_the_full_one_does(tmp_path):
    # A smoke test: no figure of small networks means anything, and no test asserts a time.
    command = [sys.executable, "tools/benchmark.py", "--quick", "--bfloat16", "--json", str(tmp_path / "figures.json")]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert process.returncode == 0, process.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert {
        "mean_teacher_over_supervised", "ema_share_of_step", "bfloat16_speedup", "xla_speedup",
        "pipeline_images_per_second", "pipeline_images_per_second_two_views", "step_time_604388_over_73257",
        "seconds_to_first_step", "seconds_to_first_step_plain_keras", "two_outputs_mean_teacher_over_plain",
        "peak_rss_bytes_svhn_extra", "share_of_matmul_peak",
    } <= set(figures)  # fmt: skip
    assert all(value > 0 for name, value in figures.items() if not name.endswith("more_milliseconds"))
