"""Writes what is generated of the README, between `<!-- generated: NAME -->` and `<!-- end -->`, and its picture.

python docs/fill_readme.py
"""

from __future__ import annotations

import re
from pathlib import Path

from generator import PARTS, drawing

ROOT = Path(__file__).parents[1]
README, PICTURE = ROOT / "README.md", ROOT / "docs" / "networks.svg"
PART = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """A page with its generated parts as they are now."""
    return PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n{found[3]}", text)


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
    PICTURE.write_text(drawing.networks(), encoding="utf-8")
