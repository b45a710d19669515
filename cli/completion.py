"""Completion of what is typed in a shell.

bash breaks words at `:` and `=` and replaces the last part alone: `-p basis:ma` comes as `basis`, `:`, `ma`, and what
is wanted is `macs=`. Its words are put together again before typer reads them, and its answers are cut.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from itertools import pairwise

BREAKS = ":="
VARIABLE = "_ONNX_COMPRESS_COMPLETE"
"""Typer's: set where a shell asks for completions."""


def is_asked() -> bool:
    return VARIABLE in os.environ


def complete(run: Callable[[], object]) -> int:
    """Answer the shell by what `run`, the command line, says of the words in the environment; the exit code."""
    in_bash = os.environ[VARIABLE] == "complete_bash"
    there = _join_words() if in_bash else ""
    with redirect_stdout(io.StringIO()) as answer, suppress(SystemExit):  # with which typer ends
        run()
    sys.stdout.writelines(line.removeprefix(there) + "\n" for line in answer.getvalue().splitlines())
    return 0


def _join_words() -> str:
    """Put together what bash has broken; the beginning of the last word, which it leaves as it is."""
    words, cursor = os.environ.get("COMP_WORDS", "").split(), int(os.environ.get("COMP_CWORD", "0"))
    joined = joined_words([*words[:cursor], *(words[cursor : cursor + 1] or [""])])
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = " ".join(joined), str(len(joined) - 1)
    flag, equals, value = joined[-1].partition("=")
    last = value if equals and flag.startswith("--") else joined[-1]  # typer leaves the flag out
    return last[: max(last.rfind(mark) for mark in BREAKS) + 1]


def joined_words(words: Sequence[str]) -> list[str]:
    """The words as they were typed."""
    joined = list(words[:1])
    for before, word in pairwise(words):
        if _is_break(before) or _is_break(word):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _is_break(word: str) -> bool:
    return bool(word) and not word.strip(BREAKS)


def pipelines(typed: str) -> list[str]:
    """What a pipeline may become: passes, recipes, their options and values."""
    from ..compiler.pipeline.completion import completions

    return completions(typed)
