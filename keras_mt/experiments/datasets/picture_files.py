"""Which files are pictures."""

import sys
from collections.abc import Iterable
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
# What archives of a Mac and network drives leave beside pictures: small copies, under the names of the pictures.
_LEFT_BEHIND = ("__MACOSX", "@eaDir")


def is_left_behind(name: str) -> bool:
    """Returns whether a file or folder is nobody's picture or class: hidden, or left by an archive or a drive."""
    return name.startswith(".") or name in _LEFT_BEHIND


def pictures_in(folder: Path) -> list[Path]:
    """Returns the picture files in and below a folder, sorted; none if it is no folder. Says what is skipped."""
    pictures, skipped = sorted_out(folder)
    say_skipped(folder, skipped)
    return pictures


def sorted_out(folder: Path) -> tuple[list[Path], list[Path]]:
    """Returns the picture files in and below a folder, and what has their names and is none of them; both sorted."""
    pictures, skipped = [], []
    if not folder.is_dir():
        return pictures, skipped
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.is_dir()):
        # A link to what is gone is kept: it is said when it is read. A pipe would keep its reader waiting.
        strange = path.exists() and not path.is_file()
        left_behind = any(map(is_left_behind, path.relative_to(folder).parts))
        (skipped if strange or left_behind else pictures).append(path)
    return pictures, skipped


def say_skipped(folder: Path, skipped: Iterable[Path]) -> None:
    """Warns of what is skipped in a folder, in one sentence."""
    if skipped := list(skipped):
        more = f" and {len(skipped) - 1:,} more" if len(skipped) > 1 else ""
        print(
            f"warning: {skipped[0]}{more} in {folder} skipped: hidden, in {' or '.join(_LEFT_BEHIND)}, or no file",
            file=sys.stderr,
        )
