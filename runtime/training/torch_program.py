"""An ONNX model as a list of PyTorch calls.

Compiling walks the graph once with example inputs. What does not depend on the inputs, shapes included, is computed
there and is a constant from then on; every other node that the outputs need becomes a step over numbered slots. Slot 0
stays None, for inputs left out. A value is dropped after its last use; what the gradient needs PyTorch keeps itself.
"""

# pyright: reportMissingModuleSource=false
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import onnx
import torch

from ...compiler.errors import CompressError
from .torch_operators import NodeContext, Tensor, TorchKernel, kernel, place

SHAPES = ("Shape", "Size")


@dataclass(frozen=True, eq=False)
class ProgramStep:
    """One call: slots read and written, and slots that are empty afterwards."""

    node: onnx.NodeProto
    function: TorchKernel
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    frees: tuple[int, ...]

    def __call__(self, values: list[Tensor]) -> None:
        result = self.function(*[values[slot] for slot in self.reads])
        for slot, part in zip(self.writes, listed(result), strict=False):
            values[slot] = part
        for slot in self.frees:
            values[slot] = None


class TorchProgram:
    """A compiled model.

    Args:
        model: fixed shapes. An input that is not in `examples` has to have an initializer.
        examples: tensors of the inputs' shapes and types, on the device to compute on. Their values do not matter.

    Raises:
        CompressError: an operator, or a form of one, that is not supported.
    """

    def __init__(self, model: onnx.ModelProto, examples: Mapping[str, Tensor]):
        self.inputs = list(examples)
        self._device = next(iter(examples.values())).device
        self._opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
        constants = {tensor.name: self._constant(tensor) for tensor in model.graph.initializer}
        outputs = [output.name for output in model.graph.output]
        with torch.no_grad():
            steps, constants = self._trace(needed(model.graph, outputs), constants, examples)
        self._number(steps, constants, outputs)

    def run(self, inputs: Iterable[Tensor]) -> list[Tensor]:
        """The outputs, in the model's order, from the inputs in the order of `inputs`.

        Raises:
            CompressError: PyTorch failed (out of memory, say).
        """
        values = self._template.copy()
        for slot, value in enumerate(inputs, 1):
            values[slot] = value
        for step in self.steps:
            try:
                step(values)
            except (RuntimeError, IndexError) as error:
                raise failure(step.node, error) from error
        return [values[slot] for slot in self._outputs]

    def _constant(self, tensor: onnx.TensorProto) -> Tensor:
        return images_last(torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()).to(self._device))

    def _trace(
        self, nodes: Sequence[onnx.NodeProto], constants: dict[str, Tensor], examples: Mapping[str, Tensor]
    ) -> tuple[list[tuple[onnx.NodeProto, TorchKernel]], dict[str, Tensor]]:
        """The nodes that are left, with their functions, and all constants."""
        values = {**constants, **examples}
        known = set(constants) - set(examples)
        steps: list[tuple[onnx.NodeProto, TorchKernel]] = []
        last = last_uses(nodes)
        for index, node in enumerate(nodes):
            function, results = self._visit(node, values, known)
            names = [name for name in node.output if name]
            values.update(zip(node.output, results, strict=False))
            if node.op_type in SHAPES or all(name in known for name in node.input if name):
                known.update(names)
            else:
                steps.append((node, function))
            for name in last[index] - known:
                del values[name]
        return steps, {name: values[name] for name in known if name in values}

    def _visit(
        self, node: onnx.NodeProto, values: Mapping[str, Tensor], known: set[str]
    ) -> tuple[TorchKernel, Sequence[Tensor]]:
        inputs = [values[name] if name else None for name in node.input]
        context = NodeContext(node, self._opset, inputs, [name in known or not name for name in node.input])
        try:
            function = kernel(context)
            result: Any = function(*inputs)
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
            raise failure(node, error) from error
        return function, [value.to(self._device) for value in listed(result)]

    def _number(
        self,
        steps: Sequence[tuple[onnx.NodeProto, TorchKernel]],
        constants: Mapping[str, Tensor],
        outputs: Sequence[str],
    ) -> None:
        """Names become slots: inputs, constants that are read, what the steps write; the last one is for the rest."""
        read = {name for node, _ in steps for name in node.input} | set(outputs)
        held = {name: value for name, value in constants.items() if name in read}
        written = [name for node, _ in steps for name in node.output if name]
        slots = {name: slot for slot, name in enumerate(["", *self.inputs, *held, *written])}
        rest = len(slots)
        self.steps: list[ProgramStep] = []
        for (node, function), last in zip(steps, last_uses([node for node, _ in steps]), strict=True):
            reads, writes = [slots[name] for name in node.input], [slots[name] or rest for name in node.output]
            frees = [slots[name] for name in last - set(held) - set(outputs)]
            self.steps.append(ProgramStep(node, function, tuple(reads), tuple(writes), tuple(frees)))
        self._template: list[Tensor] = [held.get(name) for name in (*slots, "")]
        self._outputs = [slots[name] for name in outputs]


def listed(result: Any) -> Sequence[Tensor]:
    return cast("Sequence[Tensor]", result if isinstance(result, (tuple, list)) else (result,))


def needed(graph: onnx.GraphProto, outputs: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes that the outputs depend on, in order; outputs that nobody reads lose their names."""
    wanted, kept = set(outputs), list[onnx.NodeProto]()
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.output[:] = [name if name in wanted else "" for name in node.output]
            wanted.update(node.input)
            kept.append(copy)
    return kept[::-1]


def last_uses(nodes: Sequence[onnx.NodeProto]) -> list[set[str]]:
    """By node: the names that no later node reads, the node's own outputs included if none does."""
    seen: set[str] = set()
    uses: list[set[str]] = []
    for node in reversed(nodes):
        names = {name for name in (*node.input, *node.output) if name}
        uses.append(names - seen)
        seen |= names
    return uses[::-1]


def images_last(value: Tensor) -> Tensor:
    """Channels last in memory, where there are images: PyTorch's fastest layout for Convs."""
    return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value


def failure(node: onnx.NodeProto, error: Exception) -> CompressError:
    line = (str(error).strip().splitlines() or [repr(error)])[0]
    return CompressError(f"PyTorch failed: {line}", place(node), "engine=ort, or a smaller batch")
