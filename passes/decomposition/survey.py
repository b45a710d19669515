"""Which Convs a decomposition may rewrite, and what every size would cost and lose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ...compiler.allocate import Choice
from ...compiler.base import Decision
from ...compiler.context import Context
from ...compiler.cost import Cost, conv_macs, conv_params, graph_cost
from ...compiler.graph.convs import Conv, blind_convs, find_convs
from ...compiler.shapes import Shapes, infer_shapes
from ...runtime.data import Slice
from ...runtime.lockstep import Layer, lockstep
from ...runtime.moments import Moments
from ..projection.fit import Fit, best_fit, plain_fit
from .budget import Candidate, Unit
from .forms import Form

CURVE_ROWS, CURVE_SAMPLES = 2**14, 256
FEW_ROWS = 100  # measured on ResNet-20 at half the MACs: top-1 88.8 -> 89.4 with 128 images, unchanged with 1,024


@dataclass(frozen=True, eq=False)
class Survey:
    """The Convs of a graph, sorted into candidates and those left alone.

    Attributes:
        candidates: in graph order.
        skipped: a decision with its reason for every other Conv.
        shapes: tensor shapes for one sample.
        cost: of all Convs of the graph.
        original: of all Convs of the model that entered the pipeline.
    """

    candidates: list[Candidate]
    skipped: list[Decision]
    shapes: Shapes
    cost: Cost
    original: Cost

    def fixed(self, unit: Unit) -> float:
        """What the Convs that are not candidates cost."""
        return getattr(self.cost, unit) - sum(candidate.dense.cost for candidate in self.candidates)


@dataclass(frozen=True)
class Request:
    """What a pass asks of a survey: its check, its forms, the unit of its budget, the step of sizes, the ridge."""

    check: Callable[[Conv], str | None]
    forms: Sequence[Form]
    unit: Unit
    align: int
    ridge: float


def survey(graph: gs.Graph, ctx: Context, request: Request) -> Survey:
    """Check every Conv of `graph`, and draw the error curve of those that may be rewritten."""
    shapes = infer_shapes(graph, ctx.sample_shapes())
    original = ctx.original or graph
    skipped = [Decision(name, "skipped", reason) for name, reason in blind_convs(graph)]
    convs: list[Conv] = []
    for conv in find_convs(graph):
        reason = ctx.out_of_scope(conv.name) or request.check(conv) or _too_small(conv, shapes, request)
        if reason:
            skipped.append(Decision(conv.name, "skipped", reason))
        else:
            convs.append(conv)
    candidates = [
        _candidate(conv, fits, shapes, request) for conv, fits in _original_fits(graph, ctx, convs, request.ridge)
    ]
    return Survey(
        candidates,
        skipped,
        shapes,
        graph_cost(graph, shapes),
        graph_cost(original, infer_shapes(original, ctx.sample_shapes())),
    )


def layer_fits(layer: Layer, moments: Moments, ridge: float) -> list[Fit]:
    """The best dense fit of every group; the fewer rows per input, the stronger the pull to the stored weight."""
    stored = layer.matrix().reshape(layer.group, -1, layer.fan_in)
    ridge *= 1 + FEW_ROWS * layer.fan_in / moments.count
    return [best_fit(moments.xx[g], moments.yx[g], moments.yy[g], stored[g], ridge) for g in range(layer.group)]


def plain_fits(conv: Conv) -> list[Fit]:
    """Without data: the stored weight of every group, in the identity metric."""
    stored = conv.matrix().reshape(conv.group, -1, conv.fan_in)
    biases = [None] * conv.group if conv.bias is None else conv.bias.reshape(conv.group, -1)
    return [plain_fit(weight, bias) for weight, bias in zip(stored, biases, strict=True)]


def _original_fits(graph: gs.Graph, ctx: Context, convs: list[Conv], ridge: float) -> Iterator[tuple[Conv, list[Fit]]]:
    if ctx.data is None:
        yield from ((conv, plain_fits(conv)) for conv in convs)
        return
    with ctx.progress("error curves", len(convs)) as advance:
        data = Slice(ctx.data, 0, min(ctx.data.samples, CURVE_SAMPLES))
        for layer, moments in lockstep(graph, graph, convs, data, ctx.rng(), CURVE_ROWS):
            assert isinstance(layer, Conv)
            yield layer, layer_fits(layer, moments, ridge)
            advance()


def _too_small(conv: Conv, shapes: Shapes, request: Request) -> str | None:
    forms = [form for form in request.forms if not form.check(conv)]
    if not forms:
        return "; ".join(str(form.check(conv)) for form in request.forms)
    if not any(_sizes(conv, form, shapes, request) for form in forms):
        return f"no size that is a multiple of {request.align} is cheaper than the Conv itself"
    return None


def _dense_cost(conv: Conv, shapes: Shapes, unit: Unit) -> float:
    return conv_params(conv) if unit == "params" else conv_macs(conv, shapes)


def _cost(conv: Conv, form: Form, size: int, shapes: Shapes, unit: Unit) -> float:
    return form.params(conv, size) + conv.filters if unit == "params" else form.macs(conv, size, shapes)


def _sizes(conv: Conv, form: Form, shapes: Shapes, request: Request) -> range:
    """The multiples of `align` that are cheaper than the dense Conv; costs grow with the size."""
    dense = _dense_cost(conv, shapes, request.unit)
    step = _cost(conv, form, 2, shapes, request.unit) - _cost(conv, form, 1, shapes, request.unit)
    start = _cost(conv, form, 1, shapes, request.unit) - step
    largest = int(min(form.limit(conv), (dense - start - 1) // step))
    return range(request.align, largest + 1, request.align)


def _candidate(conv: Conv, fits: list[Fit], shapes: Shapes, request: Request) -> Candidate:
    signal = max(sum(fit.signal for fit in fits), 1e-30)
    choices = [Choice(_dense_cost(conv, shapes, request.unit), 0.0)]
    limits: dict[str, int] = {}
    for form in request.forms:
        if form.check(conv):
            continue
        sizes = _sizes(conv, form, shapes, request)
        curve = form.curve(conv, fits, max(sizes, default=0)) / signal
        limits[form.name] = form.limit(conv)
        choices += [
            Choice(_cost(conv, form, size, shapes, request.unit), float(curve[size]), size, form.name) for size in sizes
        ]
    return Candidate(conv, choices, limits)
