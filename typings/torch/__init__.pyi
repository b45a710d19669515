"""PyTorch as far as types go here: whatever it is, wherever it is installed or not."""

from typing import Any

Tensor = Any

def __getattr__(name: str) -> Any: ...
