"""Measures a Mean Teacher step side by side with what it is compared to; ratios first.

    python tools/benchmark.py [--json FILE] [--quick] [--torch]

What is compared runs in turn, one repetition of each after the other, so that the machine's drift cancels; figures
are medians, with the middle half as spread. --quick uses small networks, few examples and two repetitions: a smoke
test whose figures mean nothing. --torch adds the same network in PyTorch, if it is installed.
"""

import argparse
import json
import os
import platform
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine, pipeline, start, steps
from benchmarks.timing import interleaved, spreads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--quick", action="store_true", help="small and short: a smoke test")
    parser.add_argument("--torch", action="store_true", help="also the same network in PyTorch, if installed")
    options = parser.parse_args()
    size = machine.QUICK if options.quick else machine.FULL

    # The programs first, while this process is small.
    figures = start.measure(size, options.quick) | pipeline.measure(size)
    with steps.Steps(size, options.torch) as measured:
        seconds = interleaved(measured.actions, size.repetitions)
    figures |= measured.figures(seconds) | {"peak_rss_bytes_benchmark": machine.peak_memory()}

    print(f"machine: {machine.describe()}; Python {platform.python_version()}, {machine.versions()}")
    print(f"network: 13-layer ConvNet, width {size.width:g}, batch {size.batch_size}, all noise on\n")
    for name, value in figures.items():
        print(f"{name:<44} {value:.4g}")
    print(f"\n{'milliseconds':<44} median  middle half")
    for name, (median, low, high) in spreads(seconds).items():
        print(f"{name:<44} {1000 * median:.1f}  {1000 * low:.1f} to {1000 * high:.1f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
