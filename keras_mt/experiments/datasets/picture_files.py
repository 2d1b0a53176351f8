"""Which files are pictures."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
_OTHER_SUFFIXES = (
    ".tif", ".tiff", ".heic", ".heif", ".avif", ".jfif", ".jpe", ".jp2", ".jxl", ".ppm", ".pgm", ".svg", ".psd", ".dng",
)  # fmt: skip
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


def looks_like_picture(path: Path) -> bool:
    """Returns whether a file has the name of a picture, be it of a kind that is read here or not."""
    return path.suffix.lower() in (*SUFFIXES, *_OTHER_SUFFIXES) and not path.is_dir()


def sorted_out(folder: Path) -> tuple[list[Path], list[Path]]:
    """Returns the picture files in and below a folder, and what has their names and is none of them; both sorted.

    Links to folders are followed, but not into a folder that they are in.
    """
    pictures, skipped = [], []
    if not folder.is_dir():
        return pictures, skipped
    for path in sorted(filter(looks_like_picture, _files_below(folder))):
        # A link to what is gone is kept: it is said when it is read. A pipe would keep its reader waiting.
        strange = path.exists() and not path.is_file()
        other = path.suffix.lower() not in SUFFIXES
        left_behind = any(map(is_left_behind, path.relative_to(folder).parts))
        (skipped if strange or other or left_behind else pictures).append(path)
    return pictures, skipped


def _files_below(folder: Path, around: tuple[str, ...] = ()) -> Iterator[Path]:
    here = os.path.realpath(folder)
    if here in around:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _files_below(Path(entry.path), (*around, here))
            else:
                yield Path(entry.path)


def say_skipped(folder: Path, skipped: Iterable[Path]) -> None:
    """Warns of what is skipped in a folder, in one sentence."""
    if skipped := list(skipped):
        more = f" and {len(skipped) - 1:,} more" if len(skipped) > 1 else ""
        print(
            f"warning: {skipped[0]}{more} in {folder} skipped: hidden, in {' or '.join(_LEFT_BEHIND)}, in no folder of "
            f"a class, no file, or none of {', '.join(SUFFIXES)}",
            file=sys.stderr,
        )
