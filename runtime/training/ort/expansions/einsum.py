"""Einsum of one or two tensors, as one product of matrices per batch element.

Of two tensors' labels, those of both that the result has are the batch (B), those of both that it has not are summed
over by the product (K), and the rest belong to the rows (L) or the columns (R):

    (B, L, K) (B, K, R) = (B, L, R), in the order of the result afterwards

What only one tensor has and the result has not is summed over first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from .formula import Expansion, ExpansionContext, Term


@dataclass(frozen=True, eq=False)
class _Labelled:
    term: Term
    labels: str

    def summed(self, kept: str) -> _Labelled:
        """Over the labels that are not among `kept`."""
        axes = [axis for axis, label in enumerate(self.labels) if label not in kept]
        rest = "".join(label for label in self.labels if label in kept)
        return _Labelled(self.term.total(axes, keepdims=0), rest) if axes else self

    def ordered(self, labels: str) -> Term:
        return self.term.transpose([self.labels.index(label) for label in labels])


def _einsum(ctx: ExpansionContext) -> Term:
    sources, result = _labels(ctx)
    terms = [_Labelled(ctx.term(index), labels) for index, labels in enumerate(sources)]
    if len(terms) == 1:
        return terms[0].summed(result).ordered(result)
    sizes = {label: dim for one in terms for label, dim in zip(one.labels, one.term.shape, strict=True)}
    left, right = terms[0].summed(result + sources[1]), terms[1].summed(result + sources[0])
    both = [label for label in left.labels if label in right.labels]
    batch, inner = "".join(v for v in both if v in result), "".join(v for v in both if v not in result)
    rows = "".join(label for label in left.labels if label not in both)
    columns = "".join(label for label in right.labels if label not in both)

    def matrices(one: _Labelled, *parts: str) -> Term:
        return one.ordered("".join(parts)).reshape([prod(sizes[label] for label in part) for part in parts])

    product = matrices(left, batch, rows, inner).apply("MatMul", matrices(right, batch, inner, columns))
    made = batch + rows + columns
    return _Labelled(product.reshape([sizes[label] for label in made]), made).ordered(result)


def _labels(ctx: ExpansionContext) -> tuple[Sequence[str], str]:
    """Of the inputs, and of the result."""
    before, arrow, result = ctx.get("equation").replace(" ", "").partition("->")
    sources = before.split(",")
    if not arrow or "." in before or len(sources) > 2 or any(len(set(labels)) < len(labels) for labels in sources):
        ctx.refuse("only one or two inputs, all labels of each different, and those of the result named")
    return sources, result


EINSUM: dict[str, Expansion] = {"Einsum": _einsum}
