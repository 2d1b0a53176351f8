"""Which files are pictures."""

from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")


def pictures_in(folder: Path) -> list[Path]:
    """Returns the picture files in and below a folder, sorted; none if it is no folder."""
    if not folder.is_dir():
        return []
    # A link to what is gone is kept: it is said when it is read.
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.is_dir())
