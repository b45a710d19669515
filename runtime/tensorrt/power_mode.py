"""The power mode of a Jetson, as `nvpmodel` names it: MAXN, 30W_ALL, 15W (its `MODE_` is left out).

A mode is asked for, never set: that takes root, and other work on the device has to know of it. `30W` asks for any mode
of that power (30W_ALL, 30W_6CORE, ...): on an AGX Xavier they differ in processor cores and their clocks, not in the
clocks of the GPU and the memory.

Source: NVIDIA Jetson Linux Developer Guide, "Supported Modes and Power Efficiency"; /etc/nvpmodel.conf.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from ...compiler.errors import Unavailable
from ...compiler.processes import CAPTURED, run

CONFIGURATION = Path("/etc/nvpmodel.conf")
LIMIT = 10.0
_CURRENT = re.compile(r"NV Power Mode: *(\S+)")
_DEFINED = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>")


def current_mode() -> str | None:
    """The mode that the device is in; None where there is no `nvpmodel`, or it does not say."""
    program = shutil.which("nvpmodel")
    if program is None:
        return None
    try:
        done = run([program, "-q"], limit=LIMIT, text=True, errors="replace", **CAPTURED)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _CURRENT.search(done.stdout)
    return None if found is None else plain(found[1])


def check_mode(asked: str, current: str | None) -> None:
    """`Unavailable` where the device is not in the mode `asked`, with the command that switches it."""
    where = f"--power-mode {asked}"
    if current is None:
        raise Unavailable("nvpmodel does not say in which mode the device is", where, "leave it out")
    if not _is(asked, current):
        raise Unavailable(f"the device is in mode {current}", where, f"run {_switch(asked)}, then this again")


def _switch(asked: str) -> str:
    try:
        defined = CONFIGURATION.read_text(encoding="utf-8", errors="replace")
    except OSError:
        defined = ""
    for number, name in _DEFINED.findall(defined):
        if _is(asked, plain(name)):
            return f"sudo nvpmodel -m {number}"
    return f"sudo nvpmodel -m ID, with the ID from {CONFIGURATION}"


def _is(asked: str, name: str) -> bool:
    return name == plain(asked) or name.startswith(f"{plain(asked)}_")


def plain(name: str) -> str:
    """Without `MODE_`."""
    return name.removeprefix("MODE_")
