"""Measures a Mean Teacher step side by side with what it is compared to; ratios first.

    python tools/benchmark.py [--only steps,small] [--json FILE] [--quick] [--bfloat16] [--torch [PYTHON]] [--minutes N]

What is compared runs in turn, one repetition of each after the other, so that the machine's drift cancels; figures
are medians, with the middle half as spread. --quick uses small networks, few examples and two repetitions: a smoke
test whose figures mean nothing. bfloat16 is measured where the processor has instructions for it, or with --bfloat16.
--torch adds the same network in PyTorch, eager and compiled, with as many threads; it may be installed in an
environment of its own, whose Python is named. oneDNN is on by the rule of the programs, unless TF_ENABLE_ONEDNN_OPTS
says otherwise; ONEDNN_MAX_CPU_ISA=AVX2 has it compute as on a processor without AVX-512.
"""

import argparse
import json
import os
import platform
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keras_mt.experiments.running import onednn

os.environ.update(onednn.environment(onednn.chosen("auto")))

import tensorflow as tf
from benchmarks import machine, pipeline, small, start, steps
from benchmarks.timing import TimeLeft, interleaved, spreads

_GROUPS = {
    "start": "the programs from their start to the first step",
    "pipeline": "batches a second",
    "steps": "the 13-layer ConvNet's steps",
    "small": "fit with MeanTeacher over plain fit of small networks",
}
# Of the time that is left; the programs and the first turns, which compile, take what they take.
_SHARES = {"start": 2, "pipeline": 1, "steps": 5, "small": 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--quick", action="store_true", help="small and short: a smoke test")
    listed = "; ".join(f"{name}: {what}" for name, what in _GROUPS.items())
    parser.add_argument("--only", type=_groups, default=list(_GROUPS), help=f"some of all groups ({listed})")
    parser.add_argument("--bfloat16", action="store_true", help="also where the processor emulates it")
    parser.add_argument("--torch", nargs="?", const=sys.executable, help="also PyTorch, which this Python has")
    parser.add_argument("--minutes", type=float, default=10, help="about the most that it may take")
    options = parser.parse_args()
    size = machine.QUICK if options.quick else machine.FULL
    tf.get_logger().setLevel("ERROR")  # Each network has a function of its own, which it takes for retracing.

    time_left = TimeLeft(60 * options.minutes, {name: _SHARES[name] for name in options.only})
    figures, seconds, torch = {}, {}, None
    # The programs first, while this process is small.
    if "start" in options.only:
        time_left.of("start")
        figures |= start.measure(size, options.quick)
    if "pipeline" in options.only:
        figures |= pipeline.measure(size, time_left.of("pipeline"))
    if "steps" in options.only:
        with steps.Steps(size, options.bfloat16 or machine.computes_bfloat16(), options.torch) as measured:
            seconds = interleaved(measured.actions, size.repetitions, time_left.of("steps"))
            torch = measured.torch
        figures |= measured.figures(seconds)
    if "small" in options.only:
        networks = small.SmallNetworks(options.quick)
        seconds_of_fit = interleaved(networks.actions, size.repetitions, time_left.of("small"))
        figures |= networks.figures(seconds_of_fit)
    figures["peak_rss_bytes_benchmark"] = machine.peak_memory()

    versions = machine.versions() + (f", torch {torch}" if torch else "")
    print(f"machine: {machine.describe()}; Python {platform.python_version()}, {versions}")
    print(f"network: 13-layer ConvNet, width {size.width:g}, batch {size.batch_size}, all noise on\n")
    for name, value in figures.items():
        print(f"{name:<44} {value:.4g}")
    if seconds:
        print(f"\n{'milliseconds':<44} median  middle half")
    for name, (median, low, high) in spreads(seconds).items():
        print(f"{name:<44} {1000 * median:.1f}  {1000 * low:.1f} to {1000 * high:.1f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def _groups(text):
    names = text.split(",")
    unknown = [name for name in names if name not in _GROUPS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no group; there are {', '.join(_GROUPS)}")
    return names


if __name__ == "__main__":
    main()
