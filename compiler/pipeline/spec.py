"""The pipeline grammar: `basis:macs=0.5:align=8,quantize:method=entropy`.

    pipeline := entry ("," entry)*
    entry    := pass | recipe                       recipe: a name in `compiler.pipeline.recipes`
    pass     := name (":" option)*
    option   := key "=" value | key                 a key alone is a flag set to true
    value    := bare | quoted                       bare: anything but , : = quotes and white space
                                                    quoted: '...' or "...", with backslash escapes

Values are typed by the annotation of the pass's field: int, float, bool, str, Literal, Milliseconds (`1.2ms`), and
unions of these (the first member that fits wins, in the order int, float, bool, Milliseconds, Literal, str). `none` is
None where the field allows it.
`str(pass)` and `format_pipeline` print a string that parses back to equal passes.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import UsageError, nearest
from .base import Pass
from .formatting import number_in
from .milliseconds import Milliseconds
from .recipes import RECIPES
from .registry import find, names

TIME = "time such as 1.2ms"
_TOKEN = re.compile(
    r"""(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<mark>[,:=])|(?P<bare>[^,:='"\s]+)|(?P<space>\s+)"""
)


@dataclasses.dataclass(frozen=True)
class _Token:
    kind: str
    text: str


def parse_pipeline(text: str) -> list[Pass]:
    """The passes that `text` names, with their options; `UsageError` on anything else."""
    tokens = _tokens(text)
    entries: list[list[_Token]] = [[]]
    for token in tokens:
        if token == _Token("mark", ","):
            entries.append([])
        else:
            entries[-1].append(token)
    if entries == [[]]:
        raise UsageError("the pipeline is empty", "pipeline", "for example: basis,quantize")
    return [found for entry in entries for found in _parse_entry(entry, text)]


def format_pipeline(passes: Sequence[Pass]) -> str:
    return ",".join(str(entry) for entry in passes)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise UsageError(f"cannot read {text[position:]!r}", f"pipeline '{text}'", "close the quote")
        if match.lastgroup == "quoted":
            tokens.append(_Token("quoted", re.sub(r"\\(.)", r"\1", match.group()[1:-1], flags=re.DOTALL)))
        elif match.lastgroup != "space":
            tokens.append(_Token(str(match.lastgroup), match.group()))
        position = match.end()
    return tokens


def _parse_entry(tokens: list[_Token], text: str) -> list[Pass]:
    """The pass, or the passes of the recipe."""
    name = tokens[0].text if tokens and tokens[0].kind == "bare" else ""
    if name not in RECIPES or name in names():
        return [_parse_pass(tokens, text)]
    if len(tokens) > 1:
        raise UsageError(f"the recipe '{name}' takes no options", f"pipeline '{text}'", RECIPES[name].pipeline)
    return parse_pipeline(RECIPES[name].pipeline)


def _parse_pass(tokens: list[_Token], text: str) -> Pass:
    where = f"pipeline '{text}'"
    if not tokens or tokens[0].kind != "bare":
        raise UsageError("a pass name is missing", where, "for example: basis,quantize")
    cls = find(tokens[0].text)
    groups: list[list[_Token]] = []
    for token in tokens[1:]:
        if token == _Token("mark", ":"):
            groups.append([])
        elif not groups:
            raise UsageError(f"unexpected '{token.text}' after '{cls.name}'", where, "options follow a colon")
        else:
            groups[-1].append(token)
    options: dict[str, Any] = {}
    for group in groups:
        key, value = _parse_option(cls, group, where)
        if key in options:
            raise UsageError(f"option '{key}' is given twice", where, "give it once")
        options[key] = value
    return _build(cls, options)


def _build(cls: type[Pass], options: dict[str, Any]) -> Pass:
    try:
        return cls(**options)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error), f"pass '{cls.name}'", f"see: onnx-compress explain {cls.name}") from error


def _parse_option(cls: type[Pass], tokens: list[_Token], where: str) -> tuple[str, Any]:
    hints = option_types(cls)
    accepted = [name.replace("_", "-") for name in hints]
    if not tokens or tokens[0].kind != "bare":
        raise UsageError(f"an option of '{cls.name}' is missing after a colon", where, f"known: {', '.join(accepted)}")
    key = tokens[0].text.replace("-", "_")
    if key not in hints:
        raise UsageError(
            f"pass '{cls.name}' has no option '{tokens[0].text}'", where, nearest(tokens[0].text, accepted)
        )
    if len(tokens) == 1:
        return key, _convert(cls, key, _Token("bare", "true"))
    if len(tokens) != 3 or tokens[1] != _Token("mark", "=") or tokens[2].kind == "mark":
        apart = len(tokens) > 3 and all(token.kind == "bare" for token in tokens[2:])
        joined = f"without spaces: {''.join(token.text for token in tokens)}"
        fix = joined if apart else "write key=value; quote values with , : or ="
        raise UsageError(f"cannot read option '{tokens[0].text}'", where, fix)
    return key, _convert(cls, key, tokens[2])


def option_value(cls: type[Pass], name: str, text: str) -> Any:
    """`text` as a value of the option with that Python name; `UsageError` where it has another type or range."""
    value = _convert(cls, name, _Token("bare", text))
    required = [entry.name for entry in dataclasses.fields(cls) if entry.default is dataclasses.MISSING]
    if not required:
        _build(cls, {name: value})
    return value


@cache
def option_types(cls: type[Pass]) -> dict[str, tuple[Any, ...]]:
    """Field name -> the types its value may have, unions flattened, in declaration order."""
    hints = get_type_hints(cls)
    return {field.name: _members(hints[field.name]) for field in dataclasses.fields(cls)}


def _members(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(member for part in get_args(hint) for member in _members(part))
    return (hint,)


def _convert(cls: type[Pass], key: str, token: _Token) -> Any:
    members, text = option_types(cls)[key], token.text
    choices = [choice for member in members if get_origin(member) is Literal for choice in get_args(member)]
    if token.kind == "bare":
        if text.lower() == "none" and types.NoneType in members:
            return None
        if bool in members and text.lower() in ("true", "false"):
            return text.lower() == "true"
        number = number_in(text)
        if isinstance(number, int) and int in members:
            return number
        if number is not None and float in members:
            return float(number)
        if Milliseconds in members and (time := _milliseconds(key, text)) is not None:
            return time
    if text in choices:
        return text
    if str in members:
        return text
    raise UsageError(
        f"option '{key.replace('_', '-')}' of '{cls.name}' cannot be '{text}'",
        "pipeline",
        f"expected {describe(members)}",
    )


def _milliseconds(key: str, text: str) -> Milliseconds | None:
    try:
        return Milliseconds.parse(text)
    except ValueError as error:
        raise UsageError(f"{key.replace('_', '-')}={error}", "pipeline", "a time in milliseconds: 1.2ms") from error


def describe(members: tuple[Any, ...]) -> str:
    """The types of an option in words: `number, none or target`."""
    words = {
        int: "integer",
        float: "number",
        bool: "true or false",
        str: "text",
        types.NoneType: "none",
        Milliseconds: TIME,
    }
    parts = [
        word
        for member in members
        for word in (
            [str(c) for c in get_args(member)] if get_origin(member) is Literal else [words.get(member, str(member))]
        )
    ]
    return " | ".join(dict.fromkeys(parts))
