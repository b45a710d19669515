"""What training drives down, written as ONNX, so that every engine differentiates the same.

s: an output of the network in training, t: the same output of the original, C: classes, T: temperature; means are over
the batch and all elements.

    softened    T^2 KL(softmax(t / T) || softmax(s / T))                  class scores (N, C)
    relative    mean (s - t)^2 / mean t^2                                 anything: logits, features
    by_channel  mean_c E (s_c - t_c)^2 / (var(t_c) + v_c)                 boxes, maps, ... (`channels`)
    labelled    -mean_n log softmax(s)[label]                             class scores and labels
    orthogonal  sum_(i != j) (f_i . f_j)^2 / (Q (Q - 1)),  f_i = v_i / |v_i|    Q basis filters v of a Conv

Sources: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (arXiv 1503.02531); Romero et al.,
"FitNets" (arXiv 1412.6550) for features; Tayyab, Khan and Mahalanobis, ICIP 2021 (arXiv 2105.10436) for the orthogonal
term, of which the part that is zero after normalisation is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx
from onnx import parser

EPSILON = 1e-12


def softened(student: str, teacher: str, out: str, classes: int, temperature: float) -> str:
    p = f"{out}/"
    return f"""
    "{p}T" = Constant <value_float: float = {temperature:g}> ()
    "{p}s" = Div ("{student}", "{p}T")
    "{p}t" = Div ("{teacher}", "{p}T")
    "{p}p" = Softmax <axis: int = 1> ("{p}t")
    "{p}log_t" = LogSoftmax <axis: int = 1> ("{p}t")
    "{p}log_s" = LogSoftmax <axis: int = 1> ("{p}s")
    "{p}ratio" = Sub ("{p}log_t", "{p}log_s")
    "{p}terms" = Mul ("{p}p", "{p}ratio")
    {_scaled_mean(f"{p}terms", out, classes * temperature**2)}
    """


def relative(student: str, teacher: str, out: str) -> str:
    p = f"{out}/"
    return f"""
    "{p}difference" = Sub ("{student}", "{teacher}")
    "{p}squares" = Mul ("{p}difference", "{p}difference")
    "{p}error" = ReduceMean <keepdims: int = 0> ("{p}squares")
    "{p}wanted" = Mul ("{teacher}", "{teacher}")
    "{p}energy" = ReduceMean <keepdims: int = 0> ("{p}wanted")
    "{p}epsilon" = Constant <value_float: float = {EPSILON:g}> ()
    "{p}norm" = Add ("{p}energy", "{p}epsilon")
    "{out}" = Div ("{p}error", "{p}norm")
    """


def by_channel(student: str, teacher: str, out: str, shape: Sequence[int], scale: np.ndarray) -> str:
    """`scale`: v_c, as large as `shape` along the axis of the channels, else 1."""
    p, rank = f"{out}/", len(shape)
    axis = next((each for each in range(rank) if scale.shape[each] > 1), 0) if rank else 0
    order = [axis, *(each for each in range(rank) if each != axis)]
    values = ", ".join(f"{each:.9g}" for each in scale.ravel())

    def mean(of: str, to: str) -> str:
        """(1, C, 1, 1): of each channel."""
        return f"""
    "{to}/first" = Transpose <perm: ints = {order}> ("{of}")
    "{to}/row" = Reshape ("{to}/first", "{p}shape")
    "{to}" = GlobalAveragePool ("{to}/row")
    """

    return f"""
    "{p}shape" = Constant <value_ints: ints = [1, {scale.size}, -1, 1]> ()
    "{p}difference" = Sub ("{student}", "{teacher}")
    "{p}squares" = Mul ("{p}difference", "{p}difference")
    {mean(f"{p}squares", f"{p}error")}
    "{p}energies" = Mul ("{teacher}", "{teacher}")
    {mean(f"{p}energies", f"{p}energy")}
    {mean(teacher, f"{p}mean")}
    "{p}offset" = Mul ("{p}mean", "{p}mean")
    "{p}variance" = Sub ("{p}energy", "{p}offset")
    "{p}positive" = Relu ("{p}variance")
    "{p}scale" = Constant <value = float[1, {scale.size}, 1, 1] {{{values}}}> ()
    "{p}norm" = Add ("{p}positive", "{p}scale")
    "{p}ratios" = Div ("{p}error", "{p}norm")
    "{out}" = ReduceMean <keepdims: int = 0> ("{p}ratios")
    """


def labelled(student: str, one_hot: str, out: str, classes: int) -> str:
    p = f"{out}/"
    return f"""
    "{p}log" = LogSoftmax <axis: int = 1> ("{student}")
    "{p}terms" = Mul ("{p}log", "{one_hot}")
    {_scaled_mean(f"{p}terms", out, -classes)}
    """


def orthogonal(weight: str, out: str, shape: Sequence[int]) -> str:
    p, count, size = f"{out}/", shape[0], prod(shape[1:])
    return f"""
    "{p}shape" = Constant <value_ints: ints = [{count}, {size}]> ()
    "{p}v" = Reshape ("{weight}", "{p}shape")
    "{p}squares" = Mul ("{p}v", "{p}v")
    "{p}ones" = Constant <value = float[{size}, 1] {{{", ".join(["1"] * size)}}}> ()
    "{p}norms" = MatMul ("{p}squares", "{p}ones")
    "{p}epsilon" = Constant <value_float: float = {EPSILON:g}> ()
    "{p}positive" = Add ("{p}norms", "{p}epsilon")
    "{p}lengths" = Sqrt ("{p}positive")
    "{p}f" = Div ("{p}v", "{p}lengths")
    "{p}ft" = Transpose ("{p}f")
    "{p}dots" = MatMul ("{p}f", "{p}ft")
    "{p}dots2" = Mul ("{p}dots", "{p}dots")
    "{p}all" = ReduceSum <keepdims: int = 0> ("{p}dots2")
    "{p}own" = Constant <value_float: float = {count}> ()
    "{p}others" = Sub ("{p}all", "{p}own")
    "{p}pairs" = Constant <value_float: float = {count * (count - 1)}> ()
    "{out}" = Div ("{p}others", "{p}pairs")
    """


def weighted_sum(terms: Sequence[tuple[str, float]], out: str) -> str:
    """`out` = the sum of the scalars by their weights."""
    lines = [
        f"""
    "{name}/weight" = Constant <value_float: float = {weight:g}> ()
    "{name}/part" = Mul ("{name}", "{name}/weight")
    """
        for name, weight in terms
    ]
    parts = ", ".join(f'"{name}/part"' for name, _ in terms)
    return "\n".join([*lines, f'"{out}" = Sum ({parts})'])


def nodes(text: str) -> list[onnx.NodeProto]:
    """The nodes of a text of assignments."""
    return list(parser.parse_graph(f"loss () => () {{ {text} }}").node)


def _scaled_mean(values: str, out: str, factor: float) -> str:
    return f"""
    "{out}/mean" = ReduceMean <keepdims: int = 0> ("{values}")
    "{out}/factor" = Constant <value_float: float = {factor:g}> ()
    "{out}" = Mul ("{out}/mean", "{out}/factor")
    """
