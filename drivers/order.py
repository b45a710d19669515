"""No layer loses its quantization unasked: what stores float weights comes before `quantize`, or is followed by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..compiler.errors import Unavailable, UsageError
from ..compiler.graph.io import Model
from ..compiler.graph.quantization.quantizable import is_layer
from ..compiler.graph.weights import holds_codes
from ..compiler.pipeline.base import Pass
from ..compiler.pipeline.context import Context


def check_order(source: Model, passes: Sequence[Pass], ctx: Context) -> None:
    """Look for quantized weights that a pass would leave in another form (`Pass.weight_form`) for good.

    Raises:
        UsageError: an earlier pass of the pipeline has quantized them.
        Unavailable: the model came in with them.
    """
    for index, entry in enumerate(passes):
        form = entry.weight_form(ctx)
        if form == "kept" or (form == "float" and _quantizing(passes[index:])):
            continue
        name, earlier = entry.name, _quantizing(passes[:index])
        if earlier:
            what = f"'{name}' leaves its weights in float, and would undo what '{earlier}' does before it"
            raise UsageError(what, "pipeline", f"{name} before {earlier}: {name},{earlier}")
        layers = _quantized(source, replace(ctx, running=name))
        if layers:
            again = f", or -p {name},quantize" if form == "float" else ""
            raise Unavailable(
                f"{len(layers)} layers are quantized already, and '{name}' would leave their weights in float",
                f"layer '{layers[0]}'",
                f"take the model from before quantization{again}, or --exclude these layers",
            )


def _quantizing(passes: Sequence[Pass]) -> str:
    return next((entry.name for entry in passes if entry.quantizes), "")


def _quantized(source: Model, ctx: Context) -> list[str]:
    """The layers with quantized weights that the running pass may rewrite."""
    layers = [node for node in source.graph.nodes if is_layer(node) and len(node.inputs) > 1]
    return [node.name for node in layers if ctx.unselected(node.name) is None and holds_codes(node.inputs[1])]
