"""The rules of `onnx-compress check`, by the file that they stand in."""

from __future__ import annotations

from onnx_compress.compiler.lint import RULES
from onnx_compress.compiler.lint.rule import Rule
from onnx_compress.compiler.targets import TARGETS

from .markdown import code, escaped, table

HEAD = """# Rules

What `onnx-compress check` looks for. An *error* means that the engine refuses the model or reads it in another way
than ONNX defines it; a *warning*, that it is slow or surprising. The source is the document or the parser's file that
the rule was read in. [Engines](targets.md) lists what each target takes.

"""

FAMILIES = {
    "all": set(TARGETS),
    "TensorRT": {name for name, target in TARGETS.items() if target.tensorrt},
    "TensorRT 8": {name for name, target in TARGETS.items() if target.tensorrt and target.tensorrt[0] == 8},
}


def page() -> str:
    rows = [
        [code(rule.name), escaped(rule.summary), rule.severity, _targets(rule), escaped(rule.source)] for rule in RULES
    ]
    return HEAD + table(["rule", "finding", "", "targets", "source"], rows)


def _targets(rule: Rule) -> str:
    """A family where the rule speaks of all of its targets and of no other; else their names."""
    covered = {name for name, target in TARGETS.items() if rule.targets(target)}
    return next((family for family, members in FAMILIES.items() if members == covered), ", ".join(sorted(covered)))
