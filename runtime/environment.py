"""Where a run happens: what has to be the same for the same result."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version

from ..compiler.report import EnvironmentReport
from .clock import processor

PACKAGES = (
    "numpy",
    "scipy",
    "onnx",
    "onnx-graphsurgeon",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-training",
    "torch",
)


def environment() -> EnvironmentReport:
    found = {name: installed for name in PACKAGES if (installed := _version(name)) is not None}
    return EnvironmentReport(
        python=platform.python_version(),
        packages=found,
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        processor=processor(),
        cores=os.cpu_count() or 1,
    )


def now() -> str:
    """UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
