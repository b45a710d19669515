"""Rules about ranks, static shapes and shapes that must fit: DepthToSpace, EyeLike, Einsum, If, ...

Sources: onnx-tensorrt docs/operators.md, and the importers of 8.5-GA.
"""

from __future__ import annotations

from .node import Node, Shape, shape_of
from .rule import TENSORRT, TENSORRT_8, TENSORRT_10, Problem, Problems, node_rule


@node_rule("space-rank", "DepthToSpace SpaceToDepth", targets=TENSORRT, source="importers")
def space_rank(node: Node) -> Problems:
    """DepthToSpace and SpaceToDepth work on 4 dimensions."""
    yield from _rank(node, (4,))


@node_rule("trilu-rank", "Trilu", targets=TENSORRT_8, source="Changelog 8.6 (N-D Trilu)")
def trilu_rank(node: Node) -> Problems:
    """Trilu works on 2 or 3 dimensions."""
    yield from _rank(node, (2, 3))


@node_rule("grid-sample", "GridSample", targets=TENSORRT, source="docs/operators.md; importer of GridSample")
def grid_sample(node: Node) -> Problems:
    """Data and grid have the same rank; from TensorRT 10 on it is 4."""
    if TENSORRT_10(node.context.target):
        yield from _rank(node, (4,))
    data, grid = node.rank(0), node.rank(1)
    if data is not None and grid is not None and data != grid:
        yield Problem(f"the data has {data} dimensions, the grid {grid}", "reshape one of them")


def _rank(node: Node, allowed: tuple[int, ...]) -> Problems:
    rank = node.rank(0)
    if rank is not None and rank not in allowed:
        wanted = " or ".join(map(str, allowed))
        yield Problem(f"the input has {rank} dimensions, TensorRT takes {wanted}", "reshape it")


@node_rule("eye-like", "EyeLike", targets=TENSORRT, source="docs/operators.md; importer of EyeLike")
def eye_like(node: Node) -> Problems:
    """The shape of EyeLike is static, with two dimensions."""
    yield from _rank(node, (2,))
    yield from _static(node)


@node_rule("reverse-sequence", "ReverseSequence", targets=TENSORRT_8, source="8.5 docs/operators.md; Changelog 8.6")
def reverse_sequence(node: Node) -> Problems:
    """ReverseSequence takes no dynamic shapes before TensorRT 8.6."""
    yield from _static(node)


@node_rule("hardmax", "Hardmax", targets=TENSORRT_10, source="onnx-tensorrt 10.16 docs/operators.md")
def hardmax(node: Node) -> Problems:
    """The axis of Hardmax has a known length."""
    shape, axis = node.shape(0), node.attribute("axis", -1)
    if shape is not None and -len(shape) <= axis < len(shape) and isinstance(shape[axis], str):
        yield Problem(f"axis {axis} is dynamic ({shape[axis]})", "fix its length")


def _static(node: Node) -> Problems:
    """Dimensions that have a name are dynamic; those that are merely unknown pass."""
    named = [dim for dim in node.shape(0) or () if isinstance(dim, str)]
    if named:
        yield Problem(f"the dimensions {', '.join(named)} are dynamic", "fix the input shape")


@node_rule("einsum-letters", "Einsum", targets=TENSORRT, source="importer of Einsum, 8.5 and RTX 1.7")
def einsum_letters(node: Node) -> Problems:
    """Einsum knows lower-case letters."""
    equation = str(node.attribute("equation", ""))
    if equation != equation.lower():
        yield Problem(f"upper-case letters in {equation}", "use a to z")


@node_rule("einsum", "Einsum", targets=TENSORRT_8, source="8.5 docs/operators.md; importer of Einsum")
def einsum(node: Node) -> Problems:
    """Einsum has no ellipsis, no diagonal, no broadcasting."""
    equation = str(node.attribute("equation", "")).replace(" ", "")
    terms = equation.partition("->")[0].split(",")
    if "." in equation:
        yield Problem("an ellipsis in the equation", "write every axis")
    if any(len(set(term)) < len(term.replace(".", "")) for term in terms if "." not in term):
        yield Problem(f"a diagonal in {equation}", "take the diagonal with Gather or Mul and ReduceSum")
    if "." not in equation:
        yield from _einsum_sizes(node, terms)


def _einsum_sizes(node: Node, terms: list[str]) -> Problems:
    sizes: dict[str, set[int]] = {}
    for index, term in enumerate(terms):
        for letter, size in zip(term, node.shape(index) or (), strict=False):
            if isinstance(size, int):
                sizes.setdefault(letter, set()).add(size)
    wrong = sorted(letter for letter, found in sizes.items() if len(found) > 1)
    if wrong:
        yield Problem(f"the axis {', '.join(wrong)} is broadcast", "Expand the operand first")


@node_rule("if-outputs", "If", targets=TENSORRT, source="docs/operators.md, If")
def if_outputs(node: Node) -> Problems:
    """The branches of an If have outputs of different names and of shapes that broadcast."""
    branches = [node.bodies[name] for name in ("then_branch", "else_branch") if name in node.bodies]
    for outputs in zip(*(branch.graph.output for branch in branches), strict=False):
        names = [info.name for info in outputs]
        shapes = [shape_of(branch.types.get(name)) or () for branch, name in zip(branches, names, strict=True)]
        if names[0] == names[-1]:
            yield Problem(f"both branches call their output '{names[0]}'", "give them different names")
        if not _broadcast(shapes[0], shapes[-1]):
            yield Problem(f"'{names[0]}' and '{names[-1]}' have shapes that do not broadcast", "make them equal")


def _broadcast(one: Shape, other: Shape) -> bool:
    """Not known to clash."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return all(not isinstance(a, int) or not isinstance(b, int) or a == b or 1 in (a, b) for a, b in pairs)


RULES = (
    space_rank,
    trilu_rank,
    grid_sample,
    eye_like,
    reverse_sequence,
    hardmax,
    einsum_letters,
    einsum,
    if_outputs,
)
