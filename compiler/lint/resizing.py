"""Rules about Resize, Upsample and GridSample.

Sources: onnx-tensorrt docs/operators.md, and the importers of 8.5-GA.
"""

from __future__ import annotations

from .node import Node
from .rule import TENSORRT, TENSORRT_8, TENSORRT_10, Problem, Problems, node_rule

COORDINATES = ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners")
ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


@node_rule("resize-mode", "Resize", targets=TENSORRT, source="docs/operators.md, Resize; importer of 8.5-GA (cubic)")
def resize_mode(node: Node) -> Problems:
    """Only some coordinate, interpolation and rounding modes exist."""
    allowed = {
        "coordinate_transformation_mode": COORDINATES,
        "mode": ("nearest", "linear", "cubic") if _has_cubic(node) else ("nearest", "linear"),
        "nearest_mode": ROUNDINGS,
    }
    for name, values in allowed.items():
        if node.attribute(name, values[0]) not in values:
            yield Problem(f"{name}={node.attribute(name)}", f"TensorRT has {', '.join(values)}")


def _has_cubic(node: Node) -> bool:
    return node.context.version >= (8, 5)


@node_rule("resize-axes", "Resize Upsample", targets=TENSORRT, source="onnx2trt_utils.cpp, canUseLinearResize")
def resize_axes(node: Node) -> Problems:
    """Linear resizing works on the last three axes, cubic on the last two."""
    reach = {"linear": 3, "bilinear": 3, "cubic": 2}.get(node.attribute("mode", "nearest"))
    scales = node.values(1 if node.op == "Upsample" or node.context.opset < 11 else 2)
    if reach is not None and scales is not None and (scales.reshape(-1)[:-reach] != 1).any():
        yield Problem(f"{node.attribute('mode')} resizing of more than the last {reach} axes", "split it")


@node_rule("resize-rounding", "Resize", targets=TENSORRT, source="importer of Resize")
def resize_rounding(node: Node) -> Problems:
    """tf_half_pixel_for_nn goes with round_prefer_floor."""
    rounding = node.attribute("nearest_mode", "round_prefer_floor")
    if node.attribute("coordinate_transformation_mode") == COORDINATES[2] and rounding != "round_prefer_floor":
        yield Problem(f"{COORDINATES[2]} with {rounding}", "use nearest_mode=round_prefer_floor")


@node_rule("resize-computed", "Resize", targets=TENSORRT_8, severity="warning", source="NVIDIA/TensorRT#2317")
def resize_computed(node: Node) -> Problems:
    """Constant scales or sizes let the engine choose its kernels; before 8.2 it is refused without."""
    if node.computed(2) or node.computed(3):
        yield Problem("scales or sizes are computed", "export with a fixed input size, or fold constants")


@node_rule("resize-policy", "Resize", targets=TENSORRT_10, source="onnx-tensorrt 10.16 docs/operators.md")
def resize_policy(node: Node) -> Problems:
    """No antialiasing, no aspect policy but stretch; axes in order where scales are computed."""
    if node.attribute("antialias", 0):
        yield Problem("antialias=1", "resize without it")
    if node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        yield Problem(f"keep_aspect_ratio_policy={node.attribute('keep_aspect_ratio_policy')}", "use stretch")
    axes = node.attribute("axes", [])
    if node.computed(2) and axes != list(range(len(axes))):
        yield Problem(f"axes={axes} with computed scales", "give scales for every axis")


RULES = (
    resize_mode,
    resize_axes,
    resize_rounding,
    resize_computed,
    resize_policy,
)
