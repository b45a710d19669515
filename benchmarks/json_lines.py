"""Results as they come: one JSON line each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def emit(line: Mapping[str, Any], file: Path | None) -> None:
    """Print a line, and append it to a file where one is given."""
    text = json.dumps(line)
    print(text, flush=True)
    if file is not None:
        with file.open("a", encoding="utf-8") as out:
            out.write(f"{text}\n")
