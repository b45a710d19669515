"""The command line: `onnx-compress MODEL ...`, and the sub-commands.

Exit codes: 0, 1 (could not do it), 2 (wrong usage), 128 + n (ended by the signal n; 130: Ctrl-C). Whatever goes wrong
is one line on stderr.
"""

from __future__ import annotations

import os
import platform
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated

import typer
from typer.main import get_command

from ..compiler.errors import OUT_OF_MEMORY, CompressError, UsageError
from ..compiler.versions import __version__
from .bench import bench
from .bisect import bisect
from .build import build
from .check import check
from .compare import compare
from .completion import complete, is_asked
from .compress import compress
from .encodings import any_text
from .eval import evaluate
from .explain import explain
from .frontier import frontier
from .help import Command, DefaultGroup
from .list import list_passes
from .report import report
from .signals import Signals, interrupting
from .streams import lenient
from .train_env import train_env

PROGRAM = "onnx-compress"
WRITTEN = ("-o", "--output", "--report", "--profile")
INTERRUPTED = 130
LONGEST = 2000
"""Characters of an error that are shown."""
COMMANDS: Mapping[str, Callable[..., None]] = {
    "compress": compress,
    "list": list_passes,
    "explain": explain,
    "eval": evaluate,
    "frontier": frontier,
    "report": report,
    "bench": bench,
    "compare": compare,
    "bisect": bisect,
    "check": check,
    "build": build,
}

app = typer.Typer(
    cls=DefaultGroup,
    rich_markup_mode=None,
    context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]},
)
for _name, _function in COMMANDS.items():
    app.command(_name, cls=Command)(_function)
app.add_typer(train_env, name="train-env")


def _version(value: bool) -> None:
    if value:
        from ..compiler.versions import BUILT_ON, installed

        packages = ", ".join(f"{name} {version}" for name, version in installed(BUILT_ON).items())
        typer.echo(f"{PROGRAM} {__version__} (Python {platform.python_version()}, {packages})")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the versions.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Make a trained CNN in ONNX small and fast.

    `onnx-compress MODEL [OPTIONS]` is short for `onnx-compress compress MODEL [OPTIONS]`.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; the console script."""
    if is_asked():
        return complete(lambda: get_command(app).main(args=[], prog_name=PROGRAM))
    args = list(sys.argv[1:] if argv is None else argv)
    if not args:
        main(["--help"])
        return 2
    verbose = bool({"-v", "--verbose"} & set(args))
    with interrupting() as signals, any_text(), warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")  # of libraries, which nobody who runs a command can heed
        try:
            with lenient():
                return _run(args, signals, verbose)
        except CompressError as error:
            return _fail(error, verbose)


def _run(args: Sequence[str], signals: Signals, verbose: bool) -> int:
    try:
        _refuse_unclear(args)
        code = get_command(app).main(args=list(args), prog_name=PROGRAM, standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except SystemExit as error:  # typer raises none here: code of the user's does
        from ..compiler.pipeline.user_code import cause, line_of

        _say(f"code of yours fails{line_of(error)}: {cause(error)} (correct it)")
        code = 1
    except Exception as error:
        return _fail(error, verbose)
    if code == INTERRUPTED:  # typer's code for every KeyboardInterrupt
        _say("interrupted")
        return signals.exit_code
    return code if isinstance(code, int) else 0


def _refuse_unclear(args: Sequence[str]) -> None:
    """`UsageError` for a word without text, which is what a shell makes of an unset variable in quotes, and for a
    folder where a file is written (which the last slash says, that paths do not keep)."""
    for before, word in pairwise(["", *args]):
        flag = word[:-1] if word.startswith("--") and word.endswith("=") else "" if word else before
        option = word.partition("=")[0] if "=" in word else before
        if option in WRITTEN and word.endswith(("/", os.sep)):
            raise UsageError("is the name of a folder", word, "give the name of a file")
        if not word or flag:
            where = flag if flag.startswith("-") else "command line"
            raise UsageError("a value is empty", where, "give one, or leave it out; is a shell variable unset?")


def _fail(error: Exception, verbose: bool) -> int:
    """Say what went wrong and return the exit code."""
    usage, code = getattr(error, "format_message", None), getattr(error, "exit_code", 1)
    if isinstance(error, CompressError):
        _say(str(error))
    elif isinstance(error, MemoryError):
        _say(f"out of memory: {error} ({OUT_OF_MEMORY})")
    elif isinstance(error, OSError) and error.filename is not None:
        _say(f"{os.fsdecode(error.filename)}: {error.strerror}")
    elif callable(usage):
        command = getattr(getattr(error, "ctx", None), "command_path", PROGRAM)
        _say(f"{str(usage()).rstrip('.')} (see: {command} --help)")
    else:
        _say(f"unexpected {type(error).__name__}: {error} (run again with -v for the traceback, and report it)")
    if verbose and code == 1:
        from .console import errors

        errors().print("".join(traceback.format_exception(error)), soft_wrap=True)
    return code


def _say(line: str) -> None:
    from .console import errors

    line = " ".join(line.split())
    if len(line) > LONGEST:
        line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
    errors().print(f"error: {line}", style="red", soft_wrap=True)
