"""The part of onnx-graphsurgeon that this project uses."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx

Dtype: TypeAlias = np.dtype[Any] | int

class Tensor:
    name: str
    inputs: list[Node]
    outputs: list[Node]
    @property
    def dtype(self) -> Dtype | None: ...
    @property
    def shape(self) -> Sequence[int | str | None] | None: ...
    def is_empty(self) -> bool: ...
    def to_constant(self, values: np.ndarray) -> Constant: ...
    def to_variable(self, dtype: Dtype | None = ..., shape: Sequence[int | str] = ...) -> Variable: ...

class Variable(Tensor):
    dtype: Dtype | None  # pyright: ignore[reportIncompatibleVariableOverride, reportIncompatibleMethodOverride]
    shape: list[int | str | None] | None  # pyright: ignore[reportIncompatibleVariableOverride, reportIncompatibleMethodOverride]
    type: str
    def __init__(
        self, name: str, dtype: Any = ..., shape: Sequence[int | str | None] | None = ..., type: str = ...
    ) -> None: ...
    @staticmethod
    def empty() -> Variable: ...
    def copy(self) -> Variable: ...

class Constant(Tensor):
    values: np.ndarray
    data_location: int | None
    export_dtype: Any
    def __init__(
        self, name: str, values: np.ndarray, data_location: int | None = ..., export_dtype: Any = ...
    ) -> None: ...
    @property
    def dtype(self) -> Dtype: ...
    @property
    def shape(self) -> Sequence[int]: ...
    def copy(self) -> Constant: ...

class Node:
    op: str
    name: str
    attrs: dict[str, Any]
    inputs: list[Tensor]
    outputs: list[Tensor]
    domain: str | None
    def __init__(
        self,
        op: str,
        name: str | None = ...,
        attrs: dict[str, Any] | None = ...,
        inputs: Sequence[Tensor] | None = ...,
        outputs: Sequence[Tensor] | None = ...,
        domain: str | None = ...,
    ) -> None: ...
    def i(self, tensor_idx: int = ..., producer_idx: int = ...) -> Node: ...
    def o(self, consumer_idx: int = ..., tensor_idx: int = ...) -> Node: ...
    def subgraphs(self, recursive: bool = ...) -> Iterator[Graph]: ...
    def copy(self, inputs: Sequence[Tensor] | None = ..., outputs: Sequence[Tensor] | None = ...) -> Node: ...

class Graph:
    nodes: list[Node]
    inputs: list[Tensor]
    outputs: list[Tensor]
    name: str
    doc_string: str
    opset: int
    import_domains: Any
    functions: list[Function]
    ir_version: int | None
    def __init__(
        self,
        nodes: Sequence[Node] | None = ...,
        inputs: Sequence[Tensor] | None = ...,
        outputs: Sequence[Tensor] | None = ...,
        name: str | None = ...,
        doc_string: str | None = ...,
        opset: int | None = ...,
        import_domains: Any = ...,
        producer_name: str | None = ...,
        producer_version: str | None = ...,
        functions: Sequence[Any] | None = ...,
        ir_version: int | None = ...,
    ) -> None: ...
    def subgraphs(self, recursive: bool = ...) -> Iterator[Graph]: ...
    def tensors(self, check_duplicates: bool = ...) -> dict[str, Tensor]: ...
    def copy(self) -> Graph: ...
    def toposort(self) -> Graph: ...
    def cleanup(
        self,
        remove_unused_node_outputs: bool = ...,
        recurse_subgraphs: bool = ...,
        remove_unused_graph_inputs: bool = ...,
        recurse_functions: bool = ...,
    ) -> Graph: ...

class Function(Graph):
    domain: str

def import_onnx(onnx_model: onnx.ModelProto) -> Graph: ...
def export_onnx(graph: Graph, do_type_check: bool = ..., **kwargs: Any) -> onnx.ModelProto: ...
