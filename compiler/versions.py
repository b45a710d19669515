"""The version of this package, and which others are installed."""

from __future__ import annotations

from collections.abc import Iterable

__version__ = "0.2.0"
BUILT_ON = ("onnx", "onnxruntime", "onnxruntime-gpu", "onnx-graphsurgeon", "numpy", "scipy")


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Name -> version of those that are installed, in order."""
    from importlib.metadata import PackageNotFoundError, version  # 20 ms, which the command line need not wait for

    found: dict[str, str] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
