"""TensorRT's words as lines for a person: node, operator and reason; no source files, no repetitions."""

from __future__ import annotations

import re
from collections.abc import Iterable

NO_IMPORTER = "TensorRT has no importer for this operator"
_PLACE = re.compile(r"\.?(?:\s+In \S+ at \S+?:\d+)+(?=\W*$)")
_WRAPPER = re.compile(r"^(?:\S+: )?Error Code \d+: (?:(?:API Usage|Internal) Error \((.*)\)|(.*))$")
_SOURCE = re.compile(r"^(\[[^\]]*::[^\]]*\]|\S+\.(cpp|hpp|h):\d+:)\s*")
_CONDITION = re.compile(r"Assertion failed: .*?: (?=[A-Z])|^.*&& (?=\")|^.*In node -1 .*?: [A-Z_]+: ")
_ECHO = re.compile(
    r"^(Invalid Node - |\[\w*[mM]acros\.cpp::catchCudaError|While parsing node number|--- (Begin|End) node"
    r"|Failed to parse|parsing failed|Engine could not be created|Building engine failed|Engine set up failed"
    r"|Network (could not be created|And Config setup failed))",
    re.IGNORECASE,
)
_HARMLESS = re.compile(r"Int64 binding|CUDA lazy loading|INT64|cudnn|cublas", re.IGNORECASE)


def node_line(index: int, name: str, op: str, reason: str) -> str:
    """`node 2 'conv' (Conv): reason`; a negative index is the model as a whole."""
    said = clean(reason)
    if said in ("", "false"):
        said = NO_IMPORTER
    if index < 0:
        return said
    return f"node {index}{f' {name!r}' if name else ''}{f' ({op})' if op else ''}: {said}"


def clean(text: str) -> str:
    """The first line of `text` that says something, without the places and conditions in TensorRT's own source."""
    lines = [_SOURCE.sub("", line.strip()) for line in text.splitlines() if not is_echo(line)]
    first = next((line for line in lines if line), text.strip())
    plain = _PLACE.sub("", first)
    wrapped = _WRAPPER.match(plain)
    return _CONDITION.sub("", (wrapped[1] or wrapped[2]) if wrapped else plain).strip('" ')


def is_echo(text: str) -> bool:
    """It repeats what another line says better."""
    return bool(_ECHO.match(_SOURCE.sub("", text.strip())) or _ECHO.match(text.strip()))


def matters(warning: str) -> bool:
    """A warning that says something about the model, not about the machine."""
    return not _HARMLESS.search(warning)


def once(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(line for line in lines if line))
