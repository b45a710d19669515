"""The Python environment of the ort engine.

onnxruntime-training installs itself under the name `onnxruntime`, so that it cannot stand beside the onnxruntime that
runs models here, and its last release (1.19.2) has files for Python 3.8 to 3.12, on Linux, macOS and Windows, and not
for ARM Linux. Hence a virtual environment of its own, with its own interpreter:

    $ONNX_COMPRESS_TRAIN_ENV, or train-env in the cache folder

It is made beside its place and renamed when it works. It holds a copy of the requirements that it was made from: an
environment with other requirements, from another version of this package, is not taken.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from ....compiler.errors import CompressError, Unavailable
from ....compiler.files import writing
from ....compiler.pipeline.progress import Progress, silent
from ....compiler.processes import CAPTURED, run
from ...result_cache import cache_folder

VARIABLE = "ONNX_COMPRESS_TRAIN_ENV"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
MARK = "onnx-compress-requirements.txt"
OLDEST, NEWEST = (3, 8), (3, 12)
NAMES = ("python3.11", "python3.12", "python3.10", "python3.9", "python3.8")
CREATE = "onnx-compress train-env create"
CHECK = "import numpy, onnx, onnxruntime; from onnxruntime.capi._pybind_state import GradientGraphBuilder"
ASK_VERSION = "import sys; print(*sys.version_info[:2])"
PIP = ("-m", "pip", "install", "--no-deps", "--no-input", "--only-binary", ":all:", "--disable-pip-version-check")
Version = tuple[int, ...]


def default_folder() -> Path:
    chosen = os.environ.get(VARIABLE)
    return Path(chosen) if chosen else cache_folder() / "train-env"


def is_ready(folder: Path) -> bool:
    """Whether a whole environment of this version of the package is there."""
    return _interpreter(folder).exists() and _mark(folder) == REQUIREMENTS.read_bytes()


def find_interpreter(folder: Path | None = None) -> Path:
    """The interpreter of the environment.

    Raises:
        CompressError: there is none, or one of another version of this package.
    """
    folder = folder or default_folder()
    if is_ready(folder):
        return _interpreter(folder)
    what = "no environment for onnxruntime-training" if _mark(folder) is None else "made by another version"
    raise Unavailable(what, str(folder), f"{CREATE}; or engine=torch")


def create(python: Path | None = None, folder: Path | None = None, progress: Progress = silent) -> Path:
    """Make the environment, unless it is there; its folder.

    Args:
        python: the interpreter to make it with; default: the first that fits of this one and those on the PATH.
        folder: default: see the module docstring.

    Raises:
        CompressError: no interpreter fits, pip failed, or the folder holds something else.
    """
    folder = (folder or default_folder()).absolute()
    if is_ready(folder):
        return folder
    _check_replaceable(folder)
    base = fitting_interpreter(python)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as staging:
        _fill(base, Path(staging) / "env", progress)
        _put(Path(staging) / "env", folder)
    return folder


def remove(folder: Path | None = None) -> bool:
    """Delete the environment; whether there was one.

    Raises:
        CompressError: the folder holds something else.
    """
    folder = folder or default_folder()
    if not folder.exists():
        return False
    _check_replaceable(folder)
    with writing(folder):
        shutil.rmtree(folder)
    return True


def fitting_interpreter(python: Path | None = None, ask: Callable[[str], Version | None] | None = None) -> str:
    """The first interpreter of a version that onnxruntime-training has files for."""
    found = {name: version for name in _candidates(python) if (version := (ask or _version)(name)) is not None}
    for name, version in found.items():
        if OLDEST <= version <= NEWEST:
            return name
    seen = ", ".join(f"{name} is {'.'.join(map(str, version))}" for name, version in found.items())
    raise CompressError(
        f"no Python from {_dotted(OLDEST)} to {_dotted(NEWEST)}: {seen or 'none found'}",
        "onnxruntime-training" if python is None else f"--python {python}",
        f"install one, then: {CREATE} --python PATH; or engine=torch",
    )


def _candidates(python: Path | None) -> Iterable[str]:
    if python is not None:
        return [str(python)]
    return [sys.executable, *filter(None, map(shutil.which, NAMES))]


def _version(name: str) -> Version | None:
    """None where it does not run: a name on the PATH may lead nowhere."""
    try:
        done = run([name, "-c", ASK_VERSION], limit=60, text=True, **CAPTURED)
        return tuple(map(int, done.stdout.split())) or None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))


def _fill(base: str, folder: Path, progress: Progress) -> None:
    python = str(_interpreter(folder))
    steps = {
        "venv": [base, "-m", "venv", str(folder)],
        "pip": [python, *PIP, "--requirement", str(REQUIREMENTS)],
        "import": [python, "-c", CHECK],
    }
    with progress("onnxruntime-training", len(steps)) as advance:
        for name, command in steps.items():
            _call(name, command)
            advance()
    shutil.copyfile(REQUIREMENTS, folder / MARK)


def _call(name: str, command: list[str]) -> None:
    done = run(command, text=True, errors="replace", stdin=subprocess.DEVNULL, **CAPTURED)
    if done.returncode == 0:
        return
    lines = [line for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines or [f"exit code {done.returncode}"]
    raise CompressError(
        f"{name} failed: {errors[-1].strip()}", f"making the environment with {command[0]}", "--python PATH"
    )


def _put(made: Path, folder: Path) -> None:
    """Another process may have been faster."""
    if folder.exists() and not is_ready(folder):
        shutil.rmtree(folder)
    try:
        made.rename(folder)
    except OSError as error:
        if not is_ready(folder):
            raise CompressError(f"cannot be written: {error.strerror}", str(folder), "choose another folder") from error


def _check_replaceable(folder: Path) -> None:
    """Only what was made here is ever deleted."""
    if folder.is_dir() and _mark(folder) is None and any(folder.iterdir()):
        raise CompressError("holds something else", str(folder), "choose another folder with --folder")
    if folder.exists() and not folder.is_dir():
        raise CompressError("is a file", str(folder), "choose another folder with --folder")


def _mark(folder: Path) -> bytes | None:
    mark = folder / MARK
    return mark.read_bytes() if mark.is_file() else None


def _interpreter(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
