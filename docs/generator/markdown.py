"""Plain docstrings as Markdown.

block indented by four     stays as it is: formulas, tables, code
lines with 1. or -         a list
any other block            a paragraph; characters that Markdown would read are escaped outside of backticks
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_ITEM = re.compile(r"(?:\d+\.|-) ")
_CODE = re.compile(r"(`[^`]*`)")
_SPECIAL = re.compile(r"([\\*_<>\[\]#|])")


def prose(text: str) -> str:
    """A docstring as Markdown."""
    return "\n\n".join(_block(block) for block in re.split(r"\n\s*\n", text.strip("\n")))


def escaped(text: str) -> str:
    """`text` as it stands, but for what is in backticks."""
    parts = _CODE.split(text)
    return "".join(part if part.startswith("`") else _SPECIAL.sub(r"\\\1", part) for part in parts)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are Markdown; a bar in them has to be escaped."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace(chr(10), ' ') for cell in line)} |" for line in lines) + "\n"


def code(text: str) -> str:
    """In backticks, also within a table."""
    return f"`{text}`" if text else ""


def _block(block: str) -> str:
    if block.startswith("    "):
        return block
    lines: list[str] = []
    for line in block.splitlines():
        if _ITEM.match(line) and lines and not _ITEM.match(lines[-1]) and not lines[-1].startswith(" "):
            lines.append("")
        lines.append(_escaped_line(line))
    return "\n".join(lines)


def _escaped_line(line: str) -> str:
    found = _ITEM.match(line)
    return found[0] + escaped(line[found.end() :]) if found else escaped(line)
