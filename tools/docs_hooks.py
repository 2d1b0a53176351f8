"""Pages of the site that are files of the root: MkDocs reads `docs/` alone, and their links go elsewhere."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"building.md": "BUILD.md", "changes.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}


def on_page_markdown(markdown: str, page, **_) -> str:
    """Returns a page's text: of those named above that of the root's file, with links as they are in `docs/`."""
    if page.file.src_uri not in PAGES:
        # The introductions of reports, which are plain text, name pages.
        linked = re.sub(r"(?<!\])\((results_\w+\.md)\)", r"([\1](\1))", markdown)
        return re.sub(r"^\|.*$", _unbroken, linked, flags=re.MULTILINE)
    text = (ROOT / PAGES[page.file.src_uri]).read_text(encoding="utf-8")
    for name, file in PAGES.items():
        text = text.replace(f"]({file}", f"]({name}")
    return re.sub(r"\]\(docs/", "](", text)


def _unbroken(row):
    """Returns a row of a table in which a mean stays beside its deviation, and a number beside what it counts."""
    row = row[0].replace(" ± ", "\u00a0±\u00a0")
    return re.sub(r"(\d) (runs?\)|above 0)", "\\1\u00a0\\2", row)
