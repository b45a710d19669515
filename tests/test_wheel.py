"""The wheel: it is built from what git knows, says its version once, and works without the clone."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from front import write_model
from onnx_compress import __version__

ROOT = Path(__file__).parents[1]
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
LEFT_OUT = (".*", "build", "dist", "out", "*.egg-info", "__pycache__", "tests", "benchmarks", "docs", "examples")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder that the wheel is installed into; built from a copy, because a build leaves files behind."""
    if any(importlib.util.find_spec(name) is None for name in ("pip", "setuptools")):
        pytest.skip("pip and setuptools are not installed")
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*LEFT_OUT))
    build = ("wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder / "wheels", folder / "source")
    subprocess.run([*PIP, *build], check=True)
    (wheel,) = (folder / "wheels").glob("*.whl")
    assert wheel.name == f"onnx_compress-{__version__}-py3-none-any.whl"
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", folder / "site", wheel], check=True)
    return folder / "site"


@pytest.mark.slow
def test_the_command_line_works_from_a_wheel_in_an_empty_folder(site: Path, tmp_path: Path):
    model, out, page = write_model(tmp_path / "m.onnx"), tmp_path / "out.onnx", tmp_path / "r.html"

    def shell(*arguments: object) -> str:
        command = [sys.executable, "-m", "onnx_compress", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(site)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
        return done.stdout

    where = "import onnx_compress; print(onnx_compress.__file__)"
    script = (sys.executable, "-c", where)
    found = subprocess.run(script, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True)
    assert Path(found.stdout.decode().strip()).parent == site / "onnx_compress"
    assert shell("--version").startswith(f"onnx-compress {__version__} ")
    shell(model, "-p", "basis:energy=0.9,quantize", "-o", out, "--report", page)
    onnx.checker.check_model(onnx.load(out))
    assert page.stat().st_size > 10_000
    assert "0 errors" in shell("check", out, "--target", "xavier")
    assert (site / "bin" / "onnx-compress").is_file()


@pytest.mark.slow
def test_the_wheel_says_under_which_licence_it_is_and_whose(site: Path):
    (folder,) = site.glob("onnx_compress-*.dist-info")
    stated = (folder / "METADATA").read_text(encoding="utf-8")
    assert "License-Expression: Apache-2.0\n" in stated
    assert "Author: The onnx-compress maintainers\n" in stated
    assert (folder / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
