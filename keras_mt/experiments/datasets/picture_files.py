"""Which files are pictures."""

from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")


def pictures_in(folder: Path) -> list[Path]:
    """Returns the picture files in and below a folder, sorted; none if it is no folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
