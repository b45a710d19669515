"""DLA v1: layers that multiply by a weight.

    Conv            two spatial dimensions, constant weight; kernel 1 to 32, stride 1 to 8, dilation 1 to 32, padding 0
                    to 31 and smaller than the kernel; room in the convolution buffer
    ConvTranspose   the same dimensions and weight; kernel and stride 1 to 32, or 1 x 64, 1 x 96, 1 x 128; no padding,
                    groups or dilation
    Gemm, MatMul    constant second matrix: they run as a 1x1 Conv

That there are at most 8192 filters and groups follows from the sizes of the tensors.

The convolution buffer has 16 banks of 32 KiB, 256 entries each. One filter and the rows of the input that one row of
the output needs must fit (b: bytes of a value; C/g: channels that a filter reads; W: input width):

    weight banks = ceil(up to 128 (C/g * kh * kw * b) / 32768)
    data banks   = ceil(ceil(ceil(C * b / 32) * W / 4) * (dilation * (kh - 1) + 1) / 256)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, prod

from .facts import Facts, first, within

BANKS, BANK_BYTES, BANK_ENTRIES = 16, 32768, 256
LONG = (64, 96, 128)


def conv(facts: Facts) -> str | None:
    weight = facts.weight
    if len(weight) != 4:
        return _weight(facts, 4)
    kernel, dilations, strides = list(weight[2:]), facts.pair("dilations", 1), facts.pair("strides", 1)
    extent = [dilation * (size - 1) + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    return first(
        within("kernel", kernel, 1, 32),
        within("stride", strides, 1, 8),
        within("dilation", dilations, 1, 32),
        _padding(facts.pads(extent, strides), kernel),
        _buffer(facts, kernel, extent[0]),
    )


def conv_transpose(facts: Facts) -> str | None:
    weight = facts.weight
    if len(weight) != 4:
        return _weight(facts, 4)
    strides = facts.pair("strides", 1)
    return first(
        _window("kernel", weight[2:]),
        _window("stride", strides),
        within("padding", facts.pads(weight[2:], strides), 0, 0),
        within("groups", [facts.attribute("group", 1)], 1, 1),
        within("dilation", facts.pair("dilations", 1), 1, 1),
    )


def matrix(facts: Facts) -> str | None:
    return _weight(facts, 2)


def _weight(facts: Facts, rank: int) -> str | None:
    if not facts.weight:
        return "its weight is not constant"
    found = len(facts.weight)
    return None if found == rank else f"a weight of {found} dimensions, expected {rank}"


def _padding(pads: Sequence[int], kernel: Sequence[int]) -> str | None:
    reason = within("padding", pads, 0, 31)
    if reason is None and any(pad >= size for pad, size in zip(pads, [*kernel, *kernel], strict=True)):
        return f"padding {' x '.join(map(str, pads))} for a kernel {kernel[0]} x {kernel[1]}, expected less"
    return reason


def _window(what: str, sizes: Sequence[int]) -> str | None:
    if sizes[0] == 1 and sizes[1] in LONG:
        return None
    reason = within(what, sizes, 1, 32)
    return None if reason is None else f"{reason}, or 1 x 64, 1 x 96, 1 x 128"


def _buffer(facts: Facts, kernel: Sequence[int], reach: int) -> str | None:
    size = 1 if facts.precision == "int8" else 2
    weights = ceil(ceil(facts.weight[1] * prod(kernel) * size / 128) * 128 / BANK_BYTES)
    row = ceil(ceil(facts.input[1] * size / 32) * facts.input[3] / 4)
    data = ceil(row * reach / BANK_ENTRIES)
    if weights + data <= BANKS:
        return None
    return f"{weights} + {data} banks of the convolution buffer for a filter and its input rows: at most {BANKS}"


CHECKS: dict[str, Callable[[Facts], str | None]] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": matrix,
    "MatMul": matrix,
}
