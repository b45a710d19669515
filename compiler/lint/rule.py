"""What a rule is: a generator of problems, with a name, a source, and the targets that it applies to.

    @node_rule("topk-sorted", "TopK", source="onnx-tensorrt 10.16 operators.md", targets=tensorrt(since=(10, 0)))
    def topk_sorted(node: Node) -> Problems:
        \"\"\"TopK must ask for sorted values.\"\"\"
        if node.attribute("sorted", 1) != 1:
            yield Problem("sorted=0 is refused", "set sorted=1")

The docstring is the rule's summary. `RULES` of the package lists every rule there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..targets import Target
from .network import Network
from .node import Node

Severity = Literal["error", "warning"]
Version = tuple[int, int]
Targets = Callable[[Target], bool]
NEVER: Version = (99, 0)


@dataclass(frozen=True)
class Finding:
    """What is wrong with one node, and how to fix it.

    Attributes:
        rule: name of the rule.
        node: the node's name as the engine shows it; "model" or the name of a tensor where it is not about a node.
        severity: "error": the engine refuses the model or reads something else; "warning": slow or surprising.
    """

    rule: str
    node: str
    problem: str
    fix: str
    severity: Severity


class Problem(NamedTuple):
    """What a check yields. `where` is the node that is looked at, unless it says something else."""

    what: str
    fix: str
    where: str = ""


Problems = Iterator[Problem]


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        name: what reports call it.
        summary: one sentence.
        source: the document or the parser's code that it was read in.
        targets: whether it applies to a target.
        check: the problems of a network, each with its place.
    """

    name: str
    summary: str
    source: str
    severity: Severity
    targets: Targets
    check: Callable[[Network], Problems]

    def findings(self, network: Network) -> Iterator[Finding]:
        for problem in self.check(network):
            yield Finding(self.name, problem.where, problem.what, problem.fix, self.severity)


def every(target: Target) -> bool:
    """Every engine."""
    return True


def tensorrt(since: Version = (0, 0), before: Version = NEVER) -> Targets:
    """The TensorRT versions in [since, before)."""
    return lambda target: target.tensorrt is not None and since <= target.tensorrt < before


TENSORRT = tensorrt()
TENSORRT_8 = tensorrt(before=(9, 0))
TENSORRT_10 = tensorrt(since=(10, 0))


def other(target: Target) -> bool:
    """Engines that are not TensorRT."""
    return target.tensorrt is None


def cache_only(target: Target) -> bool:
    """Targets that take ranges from a calibration cache and no Q/DQ."""
    return target.quantization == "cache"


def model_rule(name: str, *, source: str, targets: Targets, severity: Severity = "error"):
    """Make a rule of a function over the whole network; its problems say where they are."""

    def make(check: Callable[[Network], Problems]) -> Rule:
        return Rule(name, check.__doc__ or "", source, severity, targets, check)

    return make


def node_rule(name: str, ops: str, *, source: str, targets: Targets, severity: Severity = "error"):
    """Make a rule of a function over one node of the operators `ops` (blank-separated)."""

    def make(look: Callable[[Node], Problems]) -> Rule:
        def check(network: Network) -> Problems:
            for node in network.of(*ops.split()):
                yield from (problem._replace(where=problem.where or node.name) for problem in look(node))

        return Rule(name, look.__doc__ or "", source, severity, targets, check)

    return make
