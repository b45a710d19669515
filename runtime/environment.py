"""Where a run happens: what has to be the same for the same result."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone

from ..compiler.report import EnvironmentReport
from ..compiler.versions import BUILT_ON, installed
from .kernel_timing import processor

PACKAGES = (*BUILT_ON, "onnxruntime-training", "torch")


def environment() -> EnvironmentReport:
    return EnvironmentReport(
        python=platform.python_version(),
        packages=installed(PACKAGES),
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        processor=processor(),
        cores=os.cpu_count() or 1,
    )


def now() -> str:
    """UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
