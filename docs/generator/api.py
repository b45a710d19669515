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
    "Compressing": ("compress", "Compressed", "frontier", Frontier),
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
    for name, method in vars(found).items():
        if name.startswith("_") or not inspect.isroutine(method):
            continue
        yield f"#### {found.__name__}.{name}"
        yield _signature(method)
        yield _described(inspect.getdoc(method) or "")


def _signature(found: Any) -> str:
    kind = "class " if inspect.isclass(found) else ""
    if inspect.isclass(found) and not _constructible(found):
        return f"```python\n{kind}{found.__name__}\n```"
    signature = inspect.signature(found)
    line = f"{kind}{found.__name__}{_plain(str(signature))}"
    return f"```python\n{line if len(line) <= WIDTH else kind + found.__name__ + _broken(signature)}\n```"


def _constructible(cls: type) -> bool:
    """Not abstract, not a dictionary, and no dataclass whose fields are the program's own business."""
    return not inspect.isabstract(cls) and not issubclass(cls, dict) and not _has_hidden_fields(cls)


def _has_hidden_fields(cls: type) -> bool:
    return dataclasses.is_dataclass(cls) and any(entry.name.startswith("_") for entry in dataclasses.fields(cls))


def _broken(signature: inspect.Signature) -> str:
    """A parameter a line."""
    lines: list[str] = []
    for entry in signature.parameters.values():
        if entry.kind is entry.KEYWORD_ONLY and "    *," not in lines:
            lines.append("    *,")
        lines.append(f"    {_plain(str(entry))},")
    after = "" if signature.return_annotation is signature.empty else f" -> {signature.return_annotation}"
    return "\n".join(["(", *lines, f"){_plain(after)}"])


def _plain(text: str) -> str:
    """Without quotes around annotations, and with defaults as one writes them."""
    return re.sub(r"<(?:function|factory)[^>]*?(\w*)(?: at 0x[0-9a-f]+)?>", r"\1", text).replace("'", "")


def _described(text: str) -> str:
    """A docstring whose sections become tables."""
    return "\n\n".join(part for part in (prose(_SECTION.sub("", text + "\n").strip()), *_sections(text)) if part)


def _sections(text: str) -> Iterator[str]:
    for title, body in _SECTION.findall(text + "\n"):
        entries = _ENTRY.findall(inspect.cleandoc(body))
        yield table([title, ""], [[f"`{names}`", escaped(" ".join(what.split()))] for names, what in entries])
