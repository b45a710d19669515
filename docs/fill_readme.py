"""Writes what is generated of the README, between `<!-- generated: NAME -->` and `<!-- end -->`, and the pictures.

python docs/fill_readme.py
"""

from __future__ import annotations

import re
from pathlib import Path

from generator import PARTS, drawing, frontiers

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PICTURES = {"networks.svg": drawing.networks, "frontiers.svg": frontiers.drawn}
PART = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """A page with its generated parts as they are now."""
    return PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n{found[3]}", text)


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
    for name, drawn in PICTURES.items():
        (ROOT / "docs" / name).write_text(drawn(), encoding="utf-8")
