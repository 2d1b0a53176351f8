"""What computed a result: versions, and the kind of processor, which decides how sums are rounded."""

import platform
from pathlib import Path

import keras
import tensorflow as tf

from keras_mt.version import __version__

# As the operating system names them, the most capable first.
_INSTRUCTIONS = {"avx512_vnni": "AVX-512 VNNI", "avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON"}


def versions() -> dict[str, str]:
    """Returns the versions of what computed a result."""
    return {
        "keras_mt": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
    }


def machine(description: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """Returns the processor and the largest vector instructions that it has, as far as they are known.

    Args:
        description: What Linux says of the processors; elsewhere only their architecture is known.
    """
    lines = description.read_text(encoding="utf-8", errors="replace").splitlines() if description.exists() else []
    said = dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
    flags = said.get("flags", said.get("Features", "")).split()
    found = {"processor": said.get("model name") or platform.processor() or platform.machine()}
    best = next((name for flag, name in _INSTRUCTIONS.items() if flag in flags), None)
    return {**found, **({"instructions": best} if best else {})}
