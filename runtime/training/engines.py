"""The engines by name, PyTorch first."""

from __future__ import annotations

from importlib.util import find_spec

from ...compiler.errors import Unavailable
from ...compiler.jobs import useful
from .engine import Engine

NEITHER = "there is neither PyTorch nor an environment for onnxruntime-training"
INSTALL = "pip install 'onnx-compress[torch]'; or onnx-compress train-env create"


def find_engine(name: str, threads: int | None = None) -> Engine:
    """The engine called `name`; `auto` is torch where it is installed, else ort. Without `threads` it takes all.

    More threads than cores are not started.

    Raises:
        Unavailable: PyTorch is not installed; for `auto`, neither is the environment of ort there.
    """
    threads = None if threads is None else useful(threads)
    if name == "torch" or (name == "auto" and find_spec("torch") is not None):
        from .torch_engine import TorchEngine

        return TorchEngine(threads=threads)
    from .ort import OrtEngine
    from .ort.environment import default_folder, is_ready

    if name == "auto" and not is_ready(default_folder()):
        raise Unavailable(NEITHER, "engine auto", INSTALL)
    return OrtEngine(threads=threads)
