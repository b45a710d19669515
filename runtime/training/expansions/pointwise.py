"""Activations and other functions of single elements.

Both halves of x, (x + |x|) / 2 and (x - |x|) / 2, have the slope 1/2 at 0: sums of them have the mean of the slopes
on both sides there. No exponential is taken of a positive number, so that none is infinite.
"""

from __future__ import annotations

from functools import reduce
from operator import add

from .formula import FLOAT, ExpansionContext, Rule, Term


def positive(x: Term) -> Term:
    return (x + abs(x)) * 0.5


def negative(x: Term) -> Term:
    return (x - abs(x)) * 0.5


def _clip(x: Term) -> Term:
    return x.apply("Clip", 0.0, 1.0)


def _elu(x: Term, alpha: float, width: float = 1.0) -> Term:
    """x where it is positive, alpha (exp(x / width) - 1) elsewhere."""
    return positive(x) + ((negative(x) * (1 / width)).apply("Exp") - 1.0) * alpha


def _celu(site: ExpansionContext) -> Term:
    alpha = site.get("alpha", 1.0)
    return _elu(site.x, alpha, alpha)


def _softplus(x: Term) -> Term:
    return positive(x) + ((-abs(x)).apply("Exp") + 1.0).apply("Log")


def _prelu(site: ExpansionContext) -> Term:
    return positive(site.x) + negative(site.x) * site.term(1)


def _sum(site: ExpansionContext) -> Term:
    terms = [site.term(index) for index in range(len(site.node.inputs))]
    return reduce(add, terms) if len(terms) > 1 else terms[0].apply("Identity")


def _where(site: ExpansionContext) -> list[Term] | None:
    """Its gradient forgets to sum over what was broadcast."""
    shape = site.result
    if site.term(1).shape == shape and site.term(2).shape == shape:
        return None
    chosen = [site.term(index).apply("Expand", shape) for index in (1, 2)]
    return [site.term(0).apply("Where", *chosen)]


def _dropout(site: ExpansionContext) -> Term:
    training = site.constant(2)
    return site.refuse("it draws random numbers") if training is not None and training else site.x.apply("Identity")


POINTWISE: dict[str, Rule] = {
    "Elu": lambda site: _elu(site.x, site.get("alpha", 1.0)),
    "Celu": _celu,
    "Selu": lambda site: _elu(site.x, site.get("alpha", 1.6732632)) * site.get("gamma", 1.0507010),
    "PRelu": _prelu,
    "HardSigmoid": lambda site: _clip(site.x * site.get("alpha", 0.2) + site.get("beta", 0.5)),
    "HardSwish": lambda site: site.x * _clip(site.x * (1 / 6) + 0.5),
    "ThresholdedRelu": lambda site: site.x * site.x.apply("Greater", site.get("alpha", 1.0)).apply("Cast", to=FLOAT),
    "Softplus": lambda site: _softplus(site.x),
    "Softsign": lambda site: site.x / (abs(site.x) + 1.0),
    "Mish": lambda site: site.x * _softplus(site.x).apply("Tanh"),
    "Sum": _sum,
    "Mean": lambda site: _sum(site) * (1 / len(site.node.inputs)),
    "Where": _where,
    "Dropout": _dropout,
}
