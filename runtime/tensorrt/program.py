"""Building an engine with the program trtexec, which also measures it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from ...compiler.errors import CompressError
from ...compiler.pipeline.progress import Progress, silent
from ...compiler.processes import run
from .log import TrtexecReport, read_log

INSTALLED = Path("/usr/src/tensorrt/bin/trtexec")
NOTHING_SAID = "trtexec gave no reason"


def find_trtexec() -> Path | None:
    """The program on the PATH, or where JetPack and NVIDIA's packages put it."""
    found = shutil.which("trtexec")
    if found is not None:
        return Path(found)
    return INSTALLED if INSTALLED.is_file() else None


def run_trtexec(
    program: Path,
    arguments: Sequence[str],
    written: Path,
    progress: Progress = silent,
    say: Callable[[str], None] | None = None,
) -> TrtexecReport:
    """Run it; what it reports.

    Args:
        written: the engine file that must be there in the end.
        say: gets all that it printed.

    Raises:
        CompressError: it failed; with its first error.
    """
    with progress("trtexec", 1) as advance:
        code, output = _run([str(program), *arguments])
        advance()
    if say is not None:
        say(output)
    report = read_log(output)
    if code or not written.is_file():
        raise failure(report.errors or _tail(output), f"trtexec {report.version}".strip(), code)
    return report


def _run(command: Sequence[str]) -> tuple[int, str]:
    try:
        done = run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    except OSError as error:
        raise cannot_start(command, error) from error
    return done.returncode, done.stdout


def cannot_start(command: Sequence[str], error: OSError) -> CompressError:
    return CompressError(f"cannot be started: {error.strerror}", command[0], "check its permissions")


def failure(errors: Sequence[str], tool: str, code: int = 1) -> CompressError:
    """The first error, and how many more there are."""
    said = errors[0] if errors else NOTHING_SAID
    more = f"; and {len(errors) - 1} more" if len(errors) > 1 else ""
    died = f" (signal {-code})" if code < 0 else ""
    return CompressError(f"no engine{died}: {said}{more}", tool, "--verbose shows all of its output")


def _tail(output: str) -> list[str]:
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("&&&&")]
    return lines[-1:]
