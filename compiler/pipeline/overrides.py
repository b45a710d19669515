"""Options that differ from node to node: `layer4.*:basis.rank=64`.

    override := pattern ":" pass "." option "=" value

The pattern is a regular expression, searched in the names of nodes of the model that came in; where several match, the
last counts. A pass says in `Pass.per_node` which of its options may be set so; `skip` leaves the node alone.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from ..errors import UsageError
from .base import Pass
from .context import SKIP, Override
from .spec import option_value

OPTION, EXAMPLE = "--set", "for example: 'layer4.*:basis.rank=64' or 'head:quantize.skip=true'"
_FORM = re.compile(r"(?P<pattern>.+):(?P<name>[A-Za-z0-9_-]+)\.(?P<option>[A-Za-z0-9_-]+)=(?P<value>.*)", re.DOTALL)


def parse_override(text: str, passes: Sequence[Pass]) -> Override:
    """Raises `UsageError` where it cannot be read, or none of `passes` takes it."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise UsageError(f"cannot read '{text}'", OPTION, EXAMPLE)
    check_pattern(OPTION, found["pattern"])
    named = {entry.name: type(entry) for entry in passes}
    if found["name"] not in named:
        raise UsageError(f"'{text}': no pass '{found['name']}' in the pipeline", OPTION, f"it has {', '.join(named)}")
    cls, option = named[found["name"]], found["option"].replace("-", "_")
    if option not in cls.per_node:
        raise UsageError(f"'{text}': {cls.name} takes no {found['option']} for single nodes", OPTION, _known(cls))
    value = _flag(text, found["value"]) if option == SKIP else option_value(cls, option, found["value"])
    return Override(text, found["pattern"], cls.name, option, value)


def check_pattern(option: str, pattern: str | None) -> None:
    """`UsageError` where `pattern` is no regular expression."""
    try:
        re.compile(pattern or "")
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"'{pattern}' is not a regular expression: {error}", option, "escape it with \\") from error


def check_matches(option: str, pattern: str | None, names: Iterable[str]) -> None:
    """`UsageError` with the nearest names where `pattern` matches none of them."""
    known = [name for name in names if name]
    if not pattern or any(re.search(pattern, name) for name in known):
        return
    plain = re.sub(r"[\\^$.*+?()\[\]{}|]", "", pattern)
    near = difflib.get_close_matches(plain, known, n=3, cutoff=0.3) or known[:3]
    raise UsageError(
        f"'{pattern}' matches no node", option, f"nearest: {', '.join(near)}" if near else "no node has a name"
    )


def _flag(text: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise UsageError(f"'{text}': skip is true or false", OPTION, EXAMPLE)
    return value.lower() == "true"


def _known(cls: type[Pass]) -> str:
    names = sorted(option.replace("_", "-") for option in cls.per_node)
    return f"it takes {', '.join(names)}" if names else "it works on the whole model"
