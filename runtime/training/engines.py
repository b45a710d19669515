"""The engines by name."""

from __future__ import annotations

from importlib.util import find_spec

from ...compiler.jobs import useful
from .engine import Engine


def find_engine(name: str, threads: int | None = None) -> Engine:
    """The engine called `name`; `auto` is torch where it is installed, else ort. Without `threads` it takes all.

    More threads than cores are not started.
    """
    threads = None if threads is None else useful(threads)
    if name == "torch" or (name == "auto" and find_spec("torch") is not None):
        from .torch_engine import TorchEngine

        return TorchEngine(threads=threads)
    from .ort import OrtEngine

    return OrtEngine(threads=threads)
