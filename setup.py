"""The long description for a package index: the README without links that lead nowhere there. Else: pyproject.toml."""

import re
from pathlib import Path

from setuptools import setup


def long_description(readme: str) -> str:
    """Returns a README whose links into the repository are plain words, and whose pictures from it are their captions.

    Only absolute links work on a package index, and the repository has no public address that they could begin with.
    """
    text = re.sub(r"<picture>.*?alt=\"([^\"]*)\".*?</picture>", r"*\1*", readme, flags=re.DOTALL)
    text = re.sub(r"!\[([^\]]*)\]\((?!https?://)[^)]*\)", r"*\1*", text)
    return re.sub(r"(?<!!)\[([^\]]*)\]\((?!https?://)[^)]*\)", r"\1", text)


if __name__ == "__main__":
    setup(
        long_description=long_description((Path(__file__).parent / "README.md").read_text(encoding="utf-8")),
        long_description_content_type="text/markdown",
    )
