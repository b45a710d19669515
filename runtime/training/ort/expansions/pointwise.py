"""Activations and other functions of single elements.

Both halves of x, (x + |x|) / 2 and (x - |x|) / 2, have the slope 1/2 at 0: sums of them have the mean of the slopes
on both sides there. No exponential is taken of a positive number, so that none is infinite.
"""

from __future__ import annotations

from functools import reduce
from operator import add

from .formula import FLOAT, Expansion, ExpansionContext, Term


def positive(x: Term) -> Term:
    return (x + abs(x)) * 0.5


def negative(x: Term) -> Term:
    return (x - abs(x)) * 0.5


def _clip(x: Term) -> Term:
    return x.apply("Clip", 0.0, 1.0)


def _elu(x: Term, alpha: float, width: float = 1.0) -> Term:
    """x where it is positive, alpha (exp(x / width) - 1) elsewhere."""
    return positive(x) + ((negative(x) * (1 / width)).apply("Exp") - 1.0) * alpha


def _celu(ctx: ExpansionContext) -> Term:
    alpha = ctx.get("alpha", 1.0)
    return _elu(ctx.x, alpha, alpha)


def _softplus(x: Term) -> Term:
    return positive(x) + ((-abs(x)).apply("Exp") + 1.0).apply("Log")


def _prelu(ctx: ExpansionContext) -> Term:
    return positive(ctx.x) + negative(ctx.x) * ctx.term(1)


def _sum(ctx: ExpansionContext) -> Term:
    terms = [ctx.term(index) for index in range(len(ctx.node.inputs))]
    return reduce(add, terms) if len(terms) > 1 else terms[0].apply("Identity")


def _where(ctx: ExpansionContext) -> list[Term] | None:
    """Its gradient forgets to sum over what was broadcast."""
    shape = ctx.result
    if ctx.term(1).shape == shape and ctx.term(2).shape == shape:
        return None
    chosen = [ctx.term(index).apply("Expand", shape) for index in (1, 2)]
    return [ctx.term(0).apply("Where", *chosen)]


def _dropout(ctx: ExpansionContext) -> Term:
    training = ctx.constant(2)
    return ctx.refuse("it draws random numbers") if training is not None and training else ctx.x.apply("Identity")


POINTWISE: dict[str, Expansion] = {
    "Elu": lambda ctx: _elu(ctx.x, ctx.get("alpha", 1.0)),
    "Celu": _celu,
    "Selu": lambda ctx: _elu(ctx.x, ctx.get("alpha", 1.6732632)) * ctx.get("gamma", 1.0507010),
    "PRelu": _prelu,
    "HardSigmoid": lambda ctx: _clip(ctx.x * ctx.get("alpha", 0.2) + ctx.get("beta", 0.5)),
    "HardSwish": lambda ctx: ctx.x * _clip(ctx.x * (1 / 6) + 0.5),
    "ThresholdedRelu": lambda ctx: ctx.x * ctx.x.apply("Greater", ctx.get("alpha", 1.0)).apply("Cast", to=FLOAT),
    "Softplus": lambda ctx: _softplus(ctx.x),
    "Softsign": lambda ctx: ctx.x / (abs(ctx.x) + 1.0),
    "Mish": lambda ctx: ctx.x * _softplus(ctx.x).apply("Tanh"),
    "Sum": _sum,
    "Mean": lambda ctx: _sum(ctx) * (1 / len(ctx.node.inputs)),
    "Where": _where,
    "Dropout": _dropout,
}
