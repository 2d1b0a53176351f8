"""What is measured on, and how much of it."""

import dataclasses
import importlib.metadata
import os
import resource
from pathlib import Path

from keras_mt.experiments.running.machine import machine


@dataclasses.dataclass(frozen=True)
class Size:
    """Size of a benchmark.

    Attributes:
        width: Of the ConvNet; 1.0 is the published network.
        batch_size: Examples per step.
        repetitions: Of everything that is compared.
        examples: SVHN's training images.
        examples_with_extra: Those and the split extra.
        matrix: Height and width of the matrix product that stands for the machine's peak.
        evaluated: Images of an evaluation.
    """

    width: float
    batch_size: int
    repetitions: int
    examples: int
    examples_with_extra: int
    matrix: int
    evaluated: int


FULL = Size(1.0, 100, 9, 73_257, 604_388, 4096, 500)
QUICK = Size(1 / 16, 10, 2, 600, 1_600, 128, 20)


def describe() -> str:
    """Returns processor, its instructions, number of cores and memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    processor, *words, onednn = machine().values()
    limit = f"limited to {limit}" if (limit := os.environ.get("ONEDNN_MAX_CPU_ISA")) else ""
    said = [processor, *words, f"oneDNN {onednn}", limit, f"{os.cpu_count()} cores", f"{memory:.0f} GiB"]
    return ", ".join(filter(None, said))


def computes_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16; others emulate it, several times slower than float32."""
    described = Path("/proc/cpuinfo")
    flags = set(described.read_text().split()) if described.exists() else set()
    return bool(flags & {"avx512_bf16", "amx_bf16"})


def versions() -> str:
    """Returns the versions of the frameworks that are installed."""
    found = []
    for package in ("tensorflow", "keras"):
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def peak_memory() -> int:
    """Returns the peak resident memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
