"""The examples, from their files."""

from __future__ import annotations

from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def zero_small() -> str:
    return _shown("zero_small.py")


def depthwise_separable() -> str:
    return _shown("depthwise_separable.py")


def from_pytorch() -> str:
    return _shown("from_pytorch.py")


def _shown(name: str) -> str:
    return f"```python\n{(EXAMPLES / name).read_text(encoding='utf-8')}```"
