"""A page per pass: what `onnx-compress explain` prints, as Markdown."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from typing import Any

from onnx_compress.cli.list import documentation, summary
from onnx_compress.compiler.pipeline.base import Pass
from onnx_compress.compiler.pipeline.registry import BUILTIN, find
from onnx_compress.compiler.pipeline.spec import describe, option_types
from onnx_compress.passes.budgets.budget import LIMITS, SEARCHED
from onnx_compress.passes.decomposition.base import DecompositionPass

from .markdown import code, escaped, prose, table

BUDGETS = (*LIMITS, "energy", "rank", *SEARCHED)
OPTIONS = ("option", "type", "default", "")
INDEX = """# Passes

A pipeline is a list of passes, joined by commas, with their options after colons: `basis:macs=0.5:align=8,quantize`.
A key alone is `true`; values with special characters are quoted: `key="a,b"`. Unknown names and values are refused with
the nearest match.

`cleanup` and `fold-batchnorm` always run first (`--no-prepare` leaves them out), `legalize` last (`--no-legalize`);
they leave the outputs as they are. After every pass the graph is checked and, with data, run against the model before
it; the figures are in the table and in the report. What a pass cannot rewrite it leaves alone; the report has the
reason.

The page of a pass has what it computes, the sources, its options and what it leaves alone; the text is that of
`onnx-compress explain`. Names such as `projection.fit` in it are modules of the package, below `passes` where no folder
is named.

"""
RECIPES = """
## Recipes

Pipelines with a name: `-p small`. A recipe takes no options, and other passes may stand beside it; write the pipeline
out to change it.

<!-- generated: recipes -->

What they do, by the estimate for the Xavier, one sample: milliseconds in FP16 and all in INT8; then what each recipe
leaves, relative to FP16 and to INT8, and the metric of the task, in percent, on pictures that nothing was fitted to.
`balanced` is `safe` here, as no Conv of these networks gets faster by a basis.

<!-- generated: measured-recipes -->

Blank: not measured. Single runs, 500 pictures of the classifiers, 128 of the detectors, 100 of DeepLab, 2,000 and
10,000 of the ResNets. `xavier-int8` asks for 97 % agreement, or an error of 0.1, and where no block can go within that,
all blocks stay. `small` takes what it has to, and may ruin a network: the run then says so. `depth,quantize` leaves
0.75, 0.83 of ResNet-20, with a top-1 of 91.30.
"""


def names() -> tuple[str, ...]:
    return BUILTIN


def page_of(name: str) -> str:
    return f"passes/{name}.md"


def pages() -> dict[str, str]:
    return {"passes/index.md": index(), **{page_of(name): page(find(name)) for name in names()}}


def index() -> str:
    rows = [[f"[`{name}`]({name}.md)", escaped(summary(find(name)))] for name in names()]
    return INDEX + table(["pass", ""], rows) + RECIPES


def page(cls: type[Pass]) -> str:
    """Its docstring, its module's, its options."""
    texts = [prose(text) for text in (documentation(cls), inspect.getdoc(sys.modules[cls.__module__])) if text]
    return "\n\n".join([f"# {cls.name}", *texts, "## Options", options(cls), _per_node(cls)])


def options(cls: type[Pass]) -> str:
    return _table(cls, [entry.name for entry in dataclasses.fields(cls)]) if dataclasses.fields(cls) else "None."


def budgets() -> str:
    """The options of every decomposition for how small, or how good."""
    return _table(DecompositionPass, BUDGETS)


def _table(cls: type[Pass], chosen: Any) -> str:
    fields = {entry.name: entry for entry in dataclasses.fields(cls)}
    return table(OPTIONS, [_row(cls, fields[name]) for name in chosen])


def _row(cls: type[Pass], entry: Any) -> list[str]:
    kind = escaped(describe(option_types(cls)[entry.name]))
    default = "required" if entry.default is dataclasses.MISSING else code(_spelled(entry.default))
    return [code(entry.name.replace("_", "-")), kind, default, escaped(entry.metadata.get("help", ""))]


def _spelled(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _per_node(cls: type[Pass]) -> str:
    """What `--set` takes."""
    if not cls.per_node:
        return ""
    taken = ", ".join(code(name.replace("_", "-")) for name in sorted(cls.per_node))
    return f"For single nodes, by `--set 'REGEX:{cls.name}.OPTION=VALUE'`: {taken}.\n"
