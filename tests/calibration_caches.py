"""A reader of calibration caches, as TensorRT reads them: the last colon of a line parts name and scale."""

from __future__ import annotations

import struct


def parse_cache(text: str) -> tuple[str, dict[str, float]]:
    """(version, scales) of a cache."""
    head, *lines = text.splitlines()
    product, version, _ = head.split("-")
    assert product == "TRT"
    entries = [line.rpartition(":") for line in lines]
    return version, {name: struct.unpack(">f", bytes.fromhex(code.strip()))[0] for name, _, code in entries}
