"""The engine `torch`: PyTorch's functions and its automatic differentiation, in this process.

The program is compiled once (`torch_program`). Images and their filters lie in memory with channels last. Processor
time of a step, one thread, relative to that, ResNet-20 (128 images), MobileNet-v2 and EfficientNet-Lite0 (16 of 224 x
224):

    channels first                      1.24    1.37    1.38
    bfloat16 where autocast takes it    0.56    0.65    0.99      on an EPYC with AVX512-BF16; not offered

Depthwise Convs, forward and backward, milliseconds of 16 images on one thread of that processor, shared with others:

                             channels first    last    bfloat16, last    sums of shifted products
    96 x 56 x 56, 3 x 3            64           15          10                  168
    96 x 112 x 112, stride 2       95           32         139                  956
    480 x 14 x 14, 5 x 5           36           18          45                  144

In bfloat16 the gradients of a ResNet-20 at half its MACs have a cosine of 0.945 (the worst array) to those in float32,
0.994 in the median; after 28 steps the divergence was 0.718, and 0.724 in float32.
"""

# pyright: reportMissingModuleSource=false
from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import numpy as np
import onnx

from ...compiler.errors import CompressError, Unavailable
from ...compiler.jobs import WIDE, inner_threads, matrices_of
from ...compiler.pipeline.data import Feeds
from ..memory import kept_memory
from .engine import Program

try:
    import torch
except ImportError as error:
    raise Unavailable(
        "PyTorch is not installed", "engine torch", "pip install 'onnx-compress[torch]', or engine=ort"
    ) from error

from .torch_operators import Tensor
from .torch_program import TorchProgram, images_last


class TorchEngine:
    """PyTorch.

    Args:
        device: `cpu`, `cuda`, `cuda:1`, ...; None takes CUDA where there is some.
        threads: on the CPU; None takes all cores, inside a job one.
    """

    name = "torch"

    def __init__(self, device: str | None = None, threads: int | None = None):
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._threads = threads

    @contextmanager
    def open(self, program: Program) -> Generator[TorchTrainer]:
        """Compile a program; the number of threads is PyTorch's own again afterwards."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads or inner_threads() or before)
        try:
            with kept_memory(), matrices_of(WIDE):
                yield TorchTrainer(program, torch.device(self._device))
        finally:
            torch.set_num_threads(before)


class TorchTrainer:
    """A compiled program. Its arrays are tensors on the engine's device."""

    def __init__(self, program: Program, device: torch.device):
        self._device = device
        self._names = list(program.parameters)
        declared = {value.name: value for value in program.model.graph.input}
        examples = {name: _example(declared[name], device) for name in program.feeds}
        self._shapes = {name: tuple(value.shape) for name, value in examples.items()}
        self._program = TorchProgram(program.model, {**self.arrays(program.parameters), **examples})

    def arrays(self, values: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        return {name: self._tensor(value) for name, value in values.items()}

    def numpy(self, arrays: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        return {name: np.array(value.detach().cpu().numpy(), order="C") for name, value in arrays.items()}

    def gradients(self, parameters: Mapping[str, Tensor], feeds: Feeds) -> tuple[float, dict[str, Tensor]]:
        """The loss, and its gradient by parameter: zeros where the loss does not depend on it."""
        leaves = [parameters[name].detach().requires_grad_() for name in self._names]
        batch = [self._batch(name, feeds) for name in self._shapes]
        (loss, *_) = self._program.run([*leaves, *batch])
        if not loss.requires_grad:
            return float(loss), {name: torch.zeros_like(leaf) for name, leaf in zip(self._names, leaves, strict=True)}
        try:
            grads = torch.autograd.grad(loss.sum(), leaves, allow_unused=True, materialize_grads=True)
        except RuntimeError as error:
            raise CompressError(f"PyTorch failed: {error}", "gradient", "take a smaller batch") from error
        return float(loss.detach()), dict(zip(self._names, grads, strict=True))

    def _tensor(self, value: np.ndarray) -> Tensor:
        """A copy, where it computes."""
        return images_last(torch.tensor(value, device=self._device))

    def _batch(self, name: str, feeds: Feeds) -> Tensor:
        if name not in feeds:
            raise CompressError(f"the batch lacks {name}", "training data", f"it brings {', '.join(feeds)}")
        value = np.asarray(feeds[name])
        if value.shape != self._shapes[name]:
            raise CompressError(
                f"{name} is {value.shape}, expected {self._shapes[name]}", "training data", "leave out the rest"
            )
        return self._tensor(value)


def _example(declared: onnx.ValueInfoProto, device: torch.device) -> Tensor:
    """Zeros of an input's shape and type."""
    kind = declared.type.tensor_type
    shape = [dim.dim_value for dim in kind.shape.dim]
    if not all(dim.HasField("dim_value") for dim in kind.shape.dim):
        raise CompressError(f"input {declared.name} has an open shape", "program", "fix the batch size")
    return images_last(
        torch.from_numpy(np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))).to(device)
    )
