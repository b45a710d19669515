"""The example of an installed plug-in: pip installs it, and its pass is found by the entry point."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from front import write_model
from onnx import numpy_helper

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"
PIP = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package is installed into; built from a copy, because a build leaves files behind."""
    if any(importlib.util.find_spec(name) is None for name in ("pip", "setuptools")):
        pytest.skip("pip and setuptools are not installed")
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    install = [sys.executable, "-m", "pip", "install", *PIP, "--target", folder / "site", folder / "source"]
    subprocess.run(install, check=True)
    return folder / "site"


def shell(site: Path, *arguments: object) -> str:
    """What the command line prints in a process that has the package."""
    command = [sys.executable, "-m", "onnx_compress", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def test_its_pass_is_listed_explained_and_run(site: Path, tmp_path: Path) -> None:
    assert "clip-weights" in {entry["name"] for entry in json.loads(shell(site, "list", "--json"))}
    assert "sigmas" in shell(site, "explain", "clip-weights")
    model, out, report = write_model(tmp_path / "m.onnx"), tmp_path / "out.onnx", tmp_path / "r.json"
    shell(
        site,
        model,
        "-p",
        "clip-weights:sigmas=1.5",
        "-o",
        out,
        "--report",
        report,
        "--no-prepare",
        "--no-legalize",
        "-q",
    )
    (entry,) = json.loads(report.read_text())["passes"]
    (decision,) = entry["decisions"]
    assert entry["spec"] == "clip-weights:sigmas=1.5" and 0 < decision["figures"]["clipped"] < 0.3
    before, after = (conv_weight(path) for path in (model, out))
    assert 0.5 * abs(before).max() < abs(after).max() < abs(before).max()


def conv_weight(path: Path):
    """The only weight with four axes."""
    tensors = onnx.load(path).graph.initializer
    return next(numpy_helper.to_array(tensor) for tensor in tensors if len(tensor.dims) == 4)
