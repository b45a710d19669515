"""What a Conv takes with onnxruntime on this machine: measured once per shape, and remembered on disk.

A Conv is timed as a model of its own (`clock`), without the nodes that change its layout, which a network has at its
ends only. How fast the machine is changes with its clock and its other work, so that a Conv that never changes
(`REFERENCE`) runs along:

    price = time / time of the reference next to it * time of the reference when it was first run here

Counts of channels that are multiples of `MULTIPLE` are thinned to 8, 16, 32, 64, 128, ... and interpolated linearly in
both counts, and so are those of depthwise Convs in one: 296 Convs of EfficientNet-Lite0 at 24, 48, 96, ... are half of
them within 2 % of what was measured. Others, and other grouped Convs, are timed as they are. Sizes off the multiple
fall into slower kernels: no pass should choose them.

A workload knows the product of its spatial sizes; the sizes are taken for equal, dilations for 1. Large Convs are timed
on fewer positions and samples, and extrapolated.

Values are FP32, or INT8 where the pipeline ends in that (`foresee`): Convs are QLinearConv then, and of a network the
form is timed that has its pairs. The two say different things. A Conv of 64 to 64 channels and 3 x 3 on 28 x 28 takes
0.49 ms in FP32 and 0.14 in INT8, a depthwise one of 96 channels on 56 x 56 takes 0.07 and 0.12 (one thread, AVX-512
with VNNI). There sizes are multiples of `INT8_MULTIPLE`: depthwise Convs of 64, 72 and 80 channels take 0.20, 0.41 and
0.23 of the reference.

    network = Convs as priced + rest,    rest = other kernels * (Convs as priced) / (Convs in the network)

so that a share of the network's time is what it would be, though a Conv runs slower in a network, with cold caches,
than by itself. Networks are timed for 3 s each, so that of many that are made of one only that one is timed: in the
others, kernels of an operator take time by the elements that its nodes write.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod, sqrt

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import TensorProto, helper

from ..compiler.costs.cost_model import Foresee
from ..compiler.costs.network_cost import require_macs
from ..compiler.costs.workload import ConvWorkload, conv_workload
from ..compiler.errors import CompressError
from ..compiler.graph.convs import find_convs
from ..compiler.graph.quantization.outline import write_codes
from ..compiler.graph.shapes import Shapes
from .kernel_timing import kernel_times, processor
from .result_cache import ResultCache, cache_folder
from .session import import_onnxruntime

MULTIPLE, INT8_MULTIPLE = 8, 16
SAMPLE_MACS, CONV_MACS, NETWORK_MACS = 2e8, 1e9, 2e10
NARROWEST = 14  # positions along an axis: edges, which are padded, take less
CONV_SECONDS, NETWORK_SECONDS = 0.1, 3.0


@dataclass(frozen=True)
class Geometry:
    """A Conv that can be timed; it keeps its input's size but for strides."""

    channels_in: int
    channels_out: int
    kernel: tuple[int, ...]
    group: int
    spatial: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def positions(self) -> int:
        """Of the output."""
        return prod(-(-size // stride) for size, stride in zip(self.spatial, self.strides, strict=True))

    @property
    def macs(self) -> int:
        ends = self.channels_in, self.channels_out, self.kernel, self.group, prod(self.spatial), self.positions
        return ConvWorkload(*ends).weights * self.positions

    def graph(self, name: str, int8: bool = False) -> onnx.GraphProto:
        """One node of that name, whose input is `name.x` and output `name`; weights from a normal distribution."""
        shape = (self.channels_out, self.channels_in // self.group, *self.kernel)
        weight = np.random.default_rng(0).standard_normal(shape, np.float32) / np.float32(sqrt(prod(shape[1:])))
        op, kind = ("QLinearConv", TensorProto.UINT8) if int8 else ("Conv", TensorProto.FLOAT)
        parameters = _in_int8(weight) if int8 else {"w": weight, "b": np.zeros(self.channels_out, np.float32)}
        values = {f"{name}.{key}": value for key, value in parameters.items()}
        pads = [(size - 1) // 2 for size in self.kernel] + [size // 2 for size in self.kernel]
        inputs = [f"{name}.x", *values]
        node = helper.make_node(op, inputs, [name], name, group=self.group, strides=self.strides, pads=pads)
        open_shape = [None] * len(shape)
        ends = [helper.make_tensor_value_info(end, kind, open_shape) for end in (inputs[0], name)]
        tensors = [onnx.numpy_helper.from_array(array, key) for key, array in values.items()]
        return helper.make_graph([node], name, ends[:1], ends[1:], tensors)

    def input(self, batch: int, int8: bool = False) -> np.ndarray:
        rng, shape = np.random.default_rng(1), (batch, self.channels_in, *self.spatial)
        return rng.integers(0, 256, shape, np.uint8) if int8 else rng.standard_normal(shape, np.float32)


def _in_int8(weight: np.ndarray) -> dict[str, np.ndarray]:
    """The other inputs of QLinearConv, in order."""
    filters, one, middle = len(weight), np.array(1, np.float32), np.array(128, np.uint8)
    scales = np.full(filters, np.abs(weight).max() / 127, np.float32)
    grids = {"w_scale": scales, "w_zero": np.zeros(filters, np.int8), "y_scale": one, "y_zero": middle}
    codes = np.rint(weight / scales[0]).astype(np.int8)
    return {"x_scale": one, "x_zero": middle, "w": codes, **grids, "b": np.zeros(filters, np.int32)}


TIMED, BESIDE, CONVS = "timed", "reference", "Conv"
VARIANT = re.compile("^(QLinear|Nhwc|Fused)")
"""Before the operator's name where onnxruntime has a kernel of its own for it."""
REFERENCE = Geometry(32, 32, (3, 3), 1, (28, 28), (1, 1))


@dataclass(frozen=True)
class MeasuredLatencyModel:
    """A `compiler.costs.workload.LatencyModel`: milliseconds of one sample.

    Attributes:
        batch: samples that are run at once.
        threads: of onnxruntime.
        store: where times are kept.
        entered: the network, with its shapes, that is timed for all networks made of it; None: each is.
        foresee: what later passes make of a network, in INT8; None: it runs as it is, in FP32.
    """

    batch: int = 1
    threads: int = 1
    store: ResultCache = field(default_factory=lambda: ResultCache(cache_folder() / "prices"))
    entered: Callable[[], tuple[gs.Graph, Shapes]] | None = None
    foresee: Foresee | None = None

    @property
    def int8(self) -> bool:
        return self.foresee is not None

    def conv(self, workload: ConvWorkload) -> float:
        timed = _neighbours(geometry_of(workload), workload, channel_multiple(self.int8))
        return sum(share * self._timed(geometry, workload) for geometry, share in timed)

    def graph(self, graph: gs.Graph, shapes: Shapes) -> float:
        require_macs(graph, shapes)
        rest, written = self._timed_network if self._timed_network else self._rest(graph, shapes)
        now = elements(graph, shapes)
        return self._priced(graph, shapes) + sum(
            ms * (now.get(op, 0) / written[op] if op in written else 1.0) for op, ms in rest.items()
        )

    @cached_property
    def _timed_network(self) -> tuple[Mapping[str, float], Mapping[str, int]] | None:
        return None if self.entered is None else self._rest(*self.entered())

    def _rest(self, graph: gs.Graph, shapes: Shapes) -> tuple[Mapping[str, float], Mapping[str, int]]:
        """By operator, what kernels other than Convs take beside Convs as priced, and the elements that they write."""
        macs = sum(conv_workload(conv, shapes).macs or 0 for conv in find_convs(graph))
        times = self._in_network(graph, shapes, macs)
        convs = times.pop(CONVS, 0.0)
        scale = self._priced(graph, shapes) / convs if convs else 1.0
        return {op: scale * ms for op, ms in times.items()}, elements(graph, shapes)

    def _priced(self, graph: gs.Graph, shapes: Shapes) -> float:
        return sum(self.conv(conv_workload(conv, shapes)) for conv in find_convs(graph))

    def _timed(self, geometry: Geometry, workload: ConvWorkload) -> float:
        """Of one sample, scaled to the true count of positions."""
        geometry = shrunk(geometry)
        batch = _batch(self.batch, geometry.macs, CONV_MACS)

        def measure() -> list[float]:
            timed, beside = conv_times(geometry, batch, self.threads, self.int8)
            return [timed / beside]

        (ratio,) = self.store.get(self._file(), f"batch {batch} {geometry}{' int8' if self.int8 else ''}", measure)
        return ratio * self._reference() / batch * workload.positions()[1] / geometry.positions

    def _reference(self) -> float:
        def measure() -> list[float]:
            return conv_times(REFERENCE, 1, self.threads)[1:]

        return self.store.get(self._file(), BESIDE, measure)[0]

    def _in_network(self, graph: gs.Graph, shapes: Shapes, macs: float) -> dict[str, float]:
        """Milliseconds of one sample by operator, all kinds of Convs as one."""
        model = gs.export_onnx(self._as_it_ends(graph), do_type_check=False)
        batch = _batch(self.batch, macs, NETWORK_MACS)

        def measure() -> dict[str, float]:
            found: dict[str, float] = {}
            for kernel in kernel_times(model, _feeds(graph, shapes, batch), self.threads, NETWORK_SECONDS):
                op = CONVS if kernel.is_conv else VARIANT.sub("", kernel.op)
                found[op] = found.get(op, 0.0) + kernel.ms
            return found

        name = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
        times: dict[str, float] = self.store.get(self._file(), f"batch {batch} kernels {name}", measure)
        return {op: ms / batch for op, ms in times.items()}

    def _as_it_ends(self, graph: gs.Graph) -> gs.Graph:
        if self.foresee is None:
            return graph
        ended = self.foresee(graph).graph
        write_codes(ended)
        return ended

    def _file(self) -> str:
        version = import_onnxruntime().__version__
        return re.sub(r"[^\w.-]+", "-", f"onnxruntime {version} {processor()} threads {self.threads}")


def elements(graph: gs.Graph, shapes: Shapes) -> dict[str, int]:
    """What the nodes of each operator write, of one run."""
    found: dict[str, int] = {}
    for node in graph.nodes:
        found[node.op] = found.get(node.op, 0) + sum(prod(shapes.get(tensor.name, ())) for tensor in node.outputs)
    return found


def conv_times(geometry: Geometry, batch: int, threads: int, int8: bool = False) -> list[float]:
    """Milliseconds of a Conv on a batch, and of the reference on one sample, in the same runs."""
    both = [(geometry, TIMED, batch, int8), (REFERENCE, BESIDE, 1, False)]
    model = helper.make_model(helper.make_graph([], "convs", [], []), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    for conv, name, _, rounded in both:
        model.graph.MergeFrom(conv.graph(name, rounded))
    feeds = {f"{name}.x": conv.input(count, rounded) for conv, name, count, rounded in both}
    kernels = [kernel for kernel in kernel_times(model, feeds, threads, CONV_SECONDS) if kernel.is_conv]
    return [sum(kernel.ms for kernel in kernels if kernel.name.startswith(name)) for _, name, *_ in both]


def geometry_of(workload: ConvWorkload) -> Geometry:
    """Sizes and strides that give the positions of a workload, see the module docstring."""
    before, after = workload.positions()
    rank, ratio = len(workload.kernel), before / after
    extended = [size > 1 for size in workload.kernel]
    strided = extended if any(extended) else [True] * rank
    step = max(1, round(ratio ** (1 / max(1, sum(strided)))))
    strides = tuple(step if along else 1 for along in strided)
    side = before ** (1 / rank)
    if len(set(strides)) > 1 and abs(side - round(side)) > 1e-6:  # the output is the even one
        side = after ** (1 / rank)
        return _geometry(workload, tuple(max(1, round(side)) * stride for stride in strides), strides)
    return _geometry(workload, (max(1, round(side)),) * rank, strides)


def shrunk(geometry: Geometry) -> Geometry:
    """Fewer positions where a run would be long: long runs are seldom undisturbed."""
    share = (SAMPLE_MACS / geometry.macs) ** (1 / len(geometry.spatial))
    if share >= 1:
        return geometry
    sizes = zip(geometry.spatial, geometry.strides, strict=True)
    spatial = tuple(min(size, stride * max(NARROWEST, round(share * size / stride))) for size, stride in sizes)
    return replace(geometry, spatial=spatial)


def _geometry(workload: ConvWorkload, spatial: tuple[int, ...], strides: tuple[int, ...]) -> Geometry:
    return Geometry(workload.channels_in, workload.channels_out, workload.kernel, workload.group, spatial, strides)


def _neighbours(geometry: Geometry, workload: ConvWorkload, multiple: int) -> Iterator[tuple[Geometry, float]]:
    """The Convs to time, and the weight of each."""
    if workload.group > 1:
        counts = (
            around(workload.group, multiple) if workload.group == geometry.channels_in == geometry.channels_out else []
        )
        for count, share in counts:
            yield replace(geometry, channels_in=count, channels_out=count, group=count), share
        if not counts:
            yield geometry, 1.0
        return
    for inputs, left in around(workload.channels_in, multiple):
        for outputs, right in around(workload.channels_out, multiple):
            ends = (inputs, outputs, geometry.kernel, 1, geometry.spatial, geometry.strides)
            yield Geometry(*ends), left * right


def channel_multiple(int8: bool) -> int:
    """What kernels take channels in."""
    return INT8_MULTIPLE if int8 else MULTIPLE


def around(channels: int, multiple: int = MULTIPLE) -> list[tuple[int, float]]:
    """The counts on the grid that enclose `channels`, with weights; the count itself where it is on it or off all."""
    if channels % multiple:
        return [(channels, 1.0)]
    below = multiple << ((channels // multiple).bit_length() - 1)
    share = channels / below - 1
    return [(below, 1 - share), (2 * below, share)] if share else [(below, 1.0)]


def _batch(wanted: int, macs: float, most: float) -> int:
    return max(1, min(wanted, int(most / max(macs, 1))))


def _feeds(graph: gs.Graph, shapes: Shapes, batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    feeds: dict[str, np.ndarray] = {}
    for tensor in graph.inputs:
        if not isinstance(tensor.dtype, np.dtype) or tensor.dtype.kind != "f":
            what = f"input '{tensor.name}' is of type {tensor.dtype}, not of a float"
            raise CompressError(what, "clock=measured", "use the target's cost model")
        feeds[tensor.name] = rng.standard_normal((batch, *shapes[tensor.name][1:])).astype(tensor.dtype)
    return feeds
