"""The example of a pass, from its file."""

from __future__ import annotations

from pathlib import Path

ZERO_SMALL = Path(__file__).parents[2] / "examples" / "zero_small.py"


def zero_small() -> str:
    return f"```python\n{ZERO_SMALL.read_text(encoding='utf-8')}```"
