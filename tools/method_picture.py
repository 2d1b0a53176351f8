"""Draws the method as an SVG: two draws of noise, two networks, two costs, one average.

    python tools/method_picture.py [--folder docs]

writes `method.svg` for light pages and `method_dark.svg` for dark ones.
"""

import argparse
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 860, 352
# Color-blind safe (Okabe & Ito); the student and the teacher have the colors of the curves.
LIGHT = {
    "paper": "#ffffff",
    "ink": "#1f2328",
    "quiet": "#57606a",
    "box": "#f6f8fa",
    "student": "#b26a00",
    "teacher": "#0072b2",
    "cost": "#007a59",
}
DARK = {
    "paper": "#0d1117",
    "ink": "#e6edf3",
    "quiet": "#9aa4ae",
    "box": "#161b22",
    "student": "#e69f00",
    "teacher": "#56b4e9",
    "cost": "#2fbf93",
}
FILES = {"method.svg": LIGHT, "method_dark.svg": DARK}
TITLE = "One training step of Mean Teacher"
DESCRIPTION = (
    "A batch of labeled and unlabeled examples gets noise twice. The student's predictions are compared with labels "
    "(classification cost) and with the teacher's predictions (consistency cost). The gradient of both costs trains "
    "the student; after the step the teacher's weights move to the average of the student's."
)


class Picture:
    """Collects the elements of an SVG in one set of colors."""

    def __init__(self, colors: dict[str, str]):
        self.colors = colors
        self.elements = []

    def text(self, x: float, y: float, words: str, color: str = "ink", size: int = 15, bold: bool = False) -> None:
        weight = ' font-weight="600"' if bold else ""
        self.elements.append(
            f'<text x="{x}" y="{y}" font-size="{size}" fill="{self.colors[color]}"{weight} '
            f'text-anchor="middle">{escape(words)}</text>'
        )

    def box(self, x: float, y: float, width: float, height: float, color: str, *lines: str) -> None:
        """A rounded box whose first line is its name."""
        self.elements.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{self.colors["box"]}" '
            f'stroke="{self.colors[color]}" stroke-width="2"/>'
        )
        first = y + height / 2 + 5 - 10 * (len(lines) - 1)
        for place, line in enumerate(lines):
            named = {"color": color if color != "quiet" else "ink", "bold": True} if place == 0 else {"color": "quiet"}
            self.text(x + width / 2, first + 20 * place, line, size=16 if place == 0 else 14, **named)

    def arrow(self, path: str, color: str = "quiet", dashed: bool = False, width: float = 2) -> None:
        style = ' stroke-dasharray="6 5"' if dashed else ""
        self.elements.append(
            f'<path d="{path}" fill="none" stroke="{self.colors[color]}" stroke-width="{width}"{style} '
            f'marker-end="url(#{color})"/>'
        )

    def svg(self) -> str:
        heads = "".join(
            f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="{self.colors[name]}"/></marker>'
            for name in ("quiet", "student", "teacher", "cost")
        )
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'font-family="system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, sans-serif">',
            f"<title>{escape(TITLE)}</title>",
            f"<desc>{escape(DESCRIPTION)}</desc>",
            f"<defs>{heads}</defs>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="{self.colors["paper"]}"/>',
            *self.elements,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"


def draw(colors: dict[str, str]) -> str:
    """Returns the picture as SVG.

    Args:
        colors: `LIGHT` or `DARK`.
    """
    picture = Picture(colors)
    picture.box(14, 128, 140, 96, "quiet", "batch x", "few with labels y,", "most without")
    picture.box(204, 64, 122, 58, "quiet", "noise", "for the student")
    picture.box(204, 230, 122, 58, "quiet", "noise", "for the teacher")
    picture.arrow("M154 160C186 150 176 93 198 93")
    picture.arrow("M154 192C186 202 176 259 198 259")

    picture.box(376, 58, 140, 70, "student", "student", "weights θ")
    picture.box(376, 224, 140, 70, "teacher", "teacher", "weights θ′")
    picture.arrow("M326 93H370")
    picture.arrow("M326 259H370")

    picture.arrow("M446 128V218", "teacher", width=3)
    picture.text(356, 170, "after each step", "teacher", 14)
    picture.text(356, 190, "θ′ ← α θ′ + (1 − α) θ", "teacher", 15, bold=True)

    picture.box(652, 48, 194, 70, "cost", "classification cost", "labeled rows only")
    picture.box(652, 158, 194, 70, "cost", "consistency cost", "all rows, needs no label")
    picture.arrow("M516 84H646", "student")
    picture.arrow("M516 99C590 99 590 180 646 182", "student")
    picture.arrow("M516 259C580 259 590 208 646 206", "teacher")
    picture.text(576, 76, "predictions", "student", 14)
    picture.text(440, 314, "predicts the targets, no gradient", "teacher", 14)
    picture.arrow("M84 128V26H749V42")
    picture.text(240, 19, "labels y (−1: none)", "quiet", 14)

    picture.arrow("M749 228V318H570V140C570 120 560 116 522 116", "cost", dashed=True)
    picture.text(660, 340, "gradient of the weighted sum: trains the student alone", "cost", 14)
    return picture.svg()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("docs"), help="folder to write to")
    folder = parser.parse_args().folder
    for name, colors in FILES.items():
        (folder / name).write_text(draw(colors), encoding="utf-8")
        print(f"drawn in {folder / name}")


if __name__ == "__main__":
    main()
