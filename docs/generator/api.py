"""The reference of the Python interface, from signatures and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

import onnx_compress
from onnx_compress.cli.list import documentation
from onnx_compress.compiler.report.frontier import Frontier

from .markdown import escaped, prose, table

SECTIONS = ("Args", "Attributes", "Raises", "Returns")
WIDTH = 100
_SECTION = re.compile(rf"^({'|'.join(SECTIONS)}):\n((?:    .*\n?|\n)+)", re.MULTILINE)
_ENTRY = re.compile(r"^([\w, *]+): (.*(?:\n +.*)*)", re.MULTILINE)
GROUPS = {
    "Compressing": ("compress", "RunOptions", "Compressed", "frontier", Frontier, "bisect"),
    "Passes": ("Pass", "option", "register", "PassResult", "Decision", "Context"),
    "The graph": ("find_convs", "Conv", "Rewriter"),
    "Pipelines": ("parse_pipeline", "format_pipeline"),
    "Errors": ("CompressError", "UsageError"),
}


def reference() -> str:
    return "\n\n".join(text for title, members in GROUPS.items() for text in (f"## {title}", *map(_entry, members)))


def _entry(member: Any) -> str:
    found = getattr(onnx_compress, member) if isinstance(member, str) else member
    return "\n\n".join([f"### {found.__name__}", _signature(found), *_body(found)])


def _body(found: Any) -> Iterator[str]:
    yield _described(documentation(found) if inspect.isclass(found) else inspect.getdoc(found) or "")
    if not inspect.isclass(found):
        return
    yield _keys(found) if issubclass(found, dict) else _properties(found)
    for name, method in vars(found).items():
        if name.startswith("_") or not inspect.isroutine(method) or name in inspect.get_annotations(found):
            continue
        yield f"#### {found.__name__}.{name}"
        yield _signature(method)
        yield _described(inspect.getdoc(method) or "")


def _keys(cls: type) -> str:
    """Of a typed dictionary."""
    kinds = {name: str(getattr(kind, "__forward_arg__", kind)) for name, kind in inspect.get_annotations(cls).items()}
    return table(["Keys", ""], [[f"`{name}`", escaped(kind)] for name, kind in kinds.items()])


def _properties(cls: type) -> str:
    found = {name: inspect.getdoc(member) or "" for name, member in vars(cls).items() if isinstance(member, property)}
    return table(["Properties", ""], [[f"`{name}`", escaped(text)] for name, text in found.items()]) if found else ""


def _signature(found: Any) -> str:
    kind = "class " if inspect.isclass(found) else ""
    arguments = _arguments(found) if not kind or _constructible(found) else ""
    return f"```python\n{kind}{found.__name__}{arguments}\n```"


def _constructible(cls: type) -> bool:
    """Not abstract, not a dictionary, and no dataclass whose fields are the program's own business."""
    return not inspect.isabstract(cls) and not issubclass(cls, dict) and not _has_hidden_fields(cls)


def _has_hidden_fields(cls: type) -> bool:
    return dataclasses.is_dataclass(cls) and any(entry.name.startswith("_") for entry in dataclasses.fields(cls))


def _arguments(found: Any) -> str:
    """On one line where they fit, else a parameter a line."""
    signature = inspect.signature(found)
    parts = list(_parts(signature))
    returned = "" if inspect.isclass(found) else _annotation(signature.return_annotation, " -> ")
    line = f"({', '.join(parts)}){returned}"
    if len(found.__name__ + line) <= WIDTH:
        return line
    return "\n".join(["(", *(f"    {part}," for part in parts), f"){returned}"])


def _parts(signature: inspect.Signature) -> Iterator[str]:
    starred = False
    for entry in signature.parameters.values():
        if entry.name == "self":
            continue
        if entry.kind is entry.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        stars = "**" if entry.kind is entry.VAR_KEYWORD else ""
        yield f"{stars}{entry.name}{_annotation(entry.annotation, ': ')}{_default(entry.default)}"


def _annotation(found: Any, before: str) -> str:
    return "" if found is inspect.Signature.empty else before + str(found).replace("'", "")


def _default(found: Any) -> str:
    """A factory's value is made anew for each object: `...`."""
    if found is inspect.Signature.empty:
        return ""
    if type(found).__module__ == "dataclasses":
        return " = ..."
    return f" = {found.__name__ if inspect.isfunction(found) else repr(found)}"


def _described(text: str) -> str:
    """A docstring whose sections become tables."""
    return "\n\n".join(part for part in (prose(_SECTION.sub("", text + "\n").strip()), *_sections(text)) if part)


def _sections(text: str) -> Iterator[str]:
    for title, body in _SECTION.findall(text + "\n"):
        entries = _ENTRY.findall(inspect.cleandoc(body))
        yield table([title, ""], [[f"`{names}`", escaped(" ".join(what.split()))] for names, what in entries])
