"""The kind of this machine's processor, as far as the operating system says it; imports no TensorFlow."""

import platform
from pathlib import Path

_DESCRIPTION = Path("/proc/cpuinfo")
# As the operating system names them, the most capable first.
_NAMES = {"avx512_vnni": "AVX-512 VNNI", "avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON"}


def processor(description: Path = _DESCRIPTION) -> dict[str, str]:
    """Returns the processor and the largest vector instructions that it has, as far as they are known.

    Args:
        description: What Linux says of the processors; elsewhere only their architecture is known.
    """
    found = {"processor": _said(description).get("model name") or platform.processor() or platform.machine()}
    best = next((name for flag, name in _NAMES.items() if flag in instructions(description)), None)
    return {**found, **({"instructions": best} if best else {})}


def instructions(description: Path = _DESCRIPTION) -> frozenset[str]:
    """Returns the names of the processor's sets of instructions, as Linux names them; elsewhere none.

    Args:
        description: What Linux says of the processors.
    """
    said = _said(description)
    return frozenset(said.get("flags", said.get("Features", "")).split())


def _said(description):
    lines = description.read_text(encoding="utf-8", errors="replace").splitlines() if description.exists() else []
    return dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
