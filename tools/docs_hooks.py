"""Pages of the site that are files of the root: MkDocs reads `docs/` alone, and their links go elsewhere."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"building.md": "BUILD.md", "changes.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}


def on_page_markdown(markdown: str, page, **_) -> str:
    """Returns a page's text: of those named above that of the root's file, with links as they are in `docs/`."""
    if page.file.src_uri not in PAGES:
        # No-break spaces: a mean and its deviation stay on one line of a table.
        return re.sub(r"^\|.*$", lambda row: row[0].replace(" ± ", "\u00a0±\u00a0"), markdown, flags=re.MULTILINE)
    text = (ROOT / PAGES[page.file.src_uri]).read_text(encoding="utf-8")
    for name, file in PAGES.items():
        text = text.replace(f"]({file}", f"]({name}")
    return re.sub(r"\]\(docs/", "](", text)
