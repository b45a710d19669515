"""DLA v1: layers without a weight, and those whose weight is a scale.

MaxPool, AveragePool    two spatial dimensions; window 1 to 8, stride 1 to 16, padding 0 to 7; an average with padding
                        counts the padding in
Relu, LeakyRelu         always
Sigmoid, Tanh           always; in INT8 they run in FP16
Clip                    from 0 to a constant 1 to 127
PRelu                   constant slope
Add, Sub, Mul, Max, Min, Sum          two operands
BatchNormalization      constant parameters
Abs                     the only unary operator
Concat                  over the channels
Slice, Split            four dimensions, constant limits, steps of 1, not over the batch
LRN                     window 3, 5, 7 or 9
Resize                  height and width only; nearest by a whole factor of 1 to 32, linear by 1 to 4
Identity, Dropout       no layer
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from .facts import Facts, first, within

WINDOWS = (3, 5, 7, 9)
UNARY = ("Ceil", "Cos", "Erf", "Exp", "Floor", "Log", "Neg", "Not", "Reciprocal", "Round", "Sign", "Sin", "Sqrt")
ELEMENTWISE = ("Add", "Sub", "Mul", "Max", "Min", "Sum")
FREE = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Abs", "Identity", "Dropout")
RESIZE = {"nearest": 32, "linear": 4}


def remark(facts: Facts) -> str:
    """What is worth knowing of a layer that runs."""
    return "in FP16" if facts.node.op in ("Sigmoid", "Tanh") and facts.precision == "int8" else ""


def pool(facts: Facts) -> str | None:
    window = [int(size) for size in facts.node.attrs["kernel_shape"]]
    if len(window) != 2:
        return f"a window of {len(window)} dimensions, expected 2"
    strides = facts.pair("strides", 1)
    pads = facts.pads(window, strides)
    exclusive = facts.node.op == "AveragePool" and any(pads) and not facts.attribute("count_include_pad", 0)
    return first(
        within("window", window, 1, 8),
        within("stride", strides, 1, 16),
        within("padding", pads, 0, 7),
        "the average leaves the padding out: the DLA counts it in" if exclusive else None,
    )


def clip(facts: Facts) -> str | None:
    low, high = (_limit(facts, index, name) for index, name in ((1, "min"), (2, "max")))
    if low is None or high is None:
        return "its limits are not both given and constant, expected 0, and 1 to 127"
    if low != 0 or not 1 <= high <= 127:
        return f"limits {low:g} and {high:g}, expected 0, and 1 to 127"
    return None


def prelu(facts: Facts) -> str | None:
    return None if facts.weight else "its slope is not constant"


def elementwise(facts: Facts) -> str | None:
    return within("operands", [len(facts.node.inputs)], 2, 2)


def batch_norm(facts: Facts) -> str | None:
    constant = all(facts.constant(index) is not None for index in range(1, 5))
    return None if constant else "its parameters are not constant"


def concat(facts: Facts) -> str | None:
    axis, rank = int(facts.node.attrs["axis"]), len(facts.output)
    return None if axis % rank == 1 else f"along axis {axis} of {rank} dimensions, expected axis 1, the channels"


def slice_(facts: Facts) -> str | None:
    """Limits that are computed leave the shape of the result unknown, which is refused before."""
    starts, axes, steps = (_values(facts, index, name) for index, name in ((1, "starts"), (3, "axes"), (4, "steps")))
    return _cut(facts, axes or range(len(starts))) or within("steps", steps or [1], 1, 1)


def split(facts: Facts) -> str | None:
    return _cut(facts, [facts.attribute("axis", 0)])


def lrn(facts: Facts) -> str | None:
    size = facts.attribute("size", 0)
    return None if size in WINDOWS else f"window {size}, expected one of {', '.join(map(str, WINDOWS))}"


def resize(facts: Facts) -> str | None:
    mode, before, after = str(facts.node.attrs.get("mode", "nearest")), facts.input, facts.output
    if mode not in RESIZE:
        return f"mode {mode}, expected nearest or linear"
    if len(after) != 4 or after[:2] != before[:2]:
        return "it changes more than height and width"
    factors = [new / old for old, new in zip(before[2:], after[2:], strict=True)]
    whole = mode == "linear" or all(factor.is_integer() for factor in factors)
    if whole and all(1 <= factor <= RESIZE[mode] for factor in factors):
        return None
    kind = "by 1 to 4" if mode == "linear" else "by a whole factor of 1 to 32"
    return f"{mode} by {' x '.join(f'{factor:g}' for factor in factors)}, expected {kind}"


def unary(facts: Facts) -> str | None:
    return f"{facts.node.op}: the DLA has Abs, and no other unary operator"


def _cut(facts: Facts, axes: Iterable[int]) -> str | None:
    rank = len(facts.input)
    if rank != 4:
        return f"a tensor of {rank} dimensions, expected 4"
    return "along axis 0, the batch" if any(axis % rank == 0 for axis in axes) else None


def _limit(facts: Facts, index: int, name: str) -> float | None:
    """A limit of Clip: an input, or an attribute before opset 11."""
    value = facts.constant(index) if facts.given(index) else facts.node.attrs.get(name)
    return None if value is None else float(np.asarray(value).reshape(-1)[0])


def _values(facts: Facts, index: int, name: str) -> list[int]:
    """A parameter of Slice: an input, or an attribute before opset 10; empty where it is left out."""
    value = facts.constant(index) if facts.given(index) else facts.node.attrs.get(name)
    return [] if value is None else [int(item) for item in np.asarray(value).reshape(-1)]


CHECKS: dict[str, Callable[[Facts], str | None]] = {
    **dict.fromkeys(FREE, lambda facts: None),
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(UNARY, unary),
    "MaxPool": pool,
    "AveragePool": pool,
    "Clip": clip,
    "PRelu": prelu,
    "BatchNormalization": batch_norm,
    "Concat": concat,
    "Slice": slice_,
    "Split": split,
    "LRN": lrn,
    "Resize": resize,
}
