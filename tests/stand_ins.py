"""TensorRT where there is none: a module `tensorrt` and a program `trtexec` that record what they are told."""

from __future__ import annotations

import json
import stat
import sys
from enum import IntEnum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ENGINE = b"an engine"


class Flag(IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class ParserError:
    """Of version 8.5; newer ones name the node."""

    def node(self) -> int:
        return 1

    def desc(self) -> str:
        return "Assertion failed: a == b: Cannot be read."


class NamingParserError(ParserError):
    def node_name(self) -> str:
        return "second"

    def node_operator(self) -> str:
        return "Conv"


class Config:
    def __init__(self, told: SimpleNamespace):
        self._told = told
        self._cache: Any = None

    def set_flag(self, flag: str) -> None:
        self._told.flags.append(flag)

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self._told.pool = (pool, size)

    def create_timing_cache(self, content: bytes) -> Any:
        return SimpleNamespace(serialize=lambda: content + b"+")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> None:
        self._cache = cache

    def get_timing_cache(self) -> Any:
        return self._cache

    def add_optimization_profile(self, profile: Any) -> None:
        self._told.profile = profile.shapes

    def set_calibration_profile(self, profile: Any) -> None:
        self._told.calibration_profile = profile.shapes


class WatchedConfig(Config):
    progress_monitor: Any = None


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[Any, ...]] = {}

    def set_shape(self, name: str, low: Any, usual: Any, high: Any) -> None:
        self.shapes[name] = (low, usual, high)


def tensorrt(
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    *,
    driver: bool = True,
    parses: bool = True,
    builds: bool = True,
    interrupted: bool = False,
) -> SimpleNamespace:
    """Put a module `tensorrt` of that version in place; returns what it will be told."""
    told = SimpleNamespace(flags=[], network=None, config=None, profile=None, model=None)
    newer = int(version.split(".")[0]) >= 10
    log: list[Any] = []

    class Builder:
        def __init__(self, logger: Any):
            log.append(logger)
            if not driver:
                logger.log(SimpleNamespace(name="ERROR"), "CUDA initialization failure with error: 35")
                raise TypeError("pybind11::init(): factory function returned nullptr")

        def create_network(self, flags: int) -> Any:
            told.network = flags
            return SimpleNamespace()

        def create_builder_config(self) -> Config:
            told.config = (WatchedConfig if newer else Config)(told)
            return told.config

        def create_optimization_profile(self) -> Profile:
            return Profile()

        def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
            watch = getattr(config, "progress_monitor", None)
            if watch is not None:
                watch.phase_start("Building Engine", None, 2)
                told.goes_on = watch.step_complete("Building Engine", 0)
                watch.phase_finish("Building Engine")
            log[0].log(SimpleNamespace(name="WARNING"), "Weights do not fit in FP16.")
            if not builds or interrupted:
                log[0].log(SimpleNamespace(name="ERROR"), "x::y: Error Code 4: Internal Error (no kernel for conv)")
                return None
            return ENGINE

    class OnnxParser:
        num_errors = 1

        def __init__(self, network: Any, logger: Any): ...

        def parse_from_file(self, path: str) -> bool:
            told.model = path
            return parses

        def get_error(self, index: int) -> ParserError:
            return NamingParserError() if newer else ParserError()

    module: Any = ModuleType("tensorrt")
    names = SimpleNamespace
    module.__version__ = version
    module.ILogger = module.IInt8EntropyCalibrator2 = type("Base", (), {})
    module.Builder, module.OnnxParser = Builder, OnnxParser
    module.NetworkDefinitionCreationFlag = Flag if newer else names(EXPLICIT_BATCH=Flag.EXPLICIT_BATCH)
    module.BuilderFlag = names(INT8="INT8", FP16="FP16", GPU_FALLBACK="GPU_FALLBACK")
    module.ProfilingVerbosity, module.MemoryPoolType = names(DETAILED="DETAILED"), names(WORKSPACE="WORKSPACE")
    module.DeviceType = names(DLA="DLA")
    if newer:
        module.IProgressMonitor = type("IProgressMonitor", (), {})
    module.__spec__ = SimpleNamespace(name="tensorrt")
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return told


PROGRAM = """#!{python}
import json, pathlib, sys, time
given = dict(entry.partition("=")[::2] for entry in sys.argv[1:])
if "--loadEngine" in given:
    assert pathlib.Path(given["--loadEngine"]).read_bytes() == {engine!r}
    pathlib.Path({told!r}).with_suffix(".run.json").write_text(json.dumps(sys.argv[1:]))
    pathlib.Path({busy!r}).write_text("")
    time.sleep(0.05)
    print("[I] Starting inference", flush=True)
    time.sleep(float(given["--warmUp"]) / 1e3 + float(given["--duration"]))
    print("[I] Warmup completed 9 queries over 200 ms", flush=True)
    print("[I] Throughput: 250 qps")
    pathlib.Path({busy!r}).unlink()
    sys.exit(0)
pathlib.Path({told!r}).write_text(json.dumps(sys.argv[1:]))
script = json.loads({script!r})
if script["engine"]:
    pathlib.Path(given["--saveEngine"]).write_bytes({engine!r})
    for option in ("--exportProfile", "--exportLayerInfo"):
        if option in given and option in script:
            pathlib.Path(given[option]).write_text(json.dumps(script[option]))
print(script["output"])
sys.exit(script["code"])
"""


def trtexec(
    folder: Path, monkeypatch: pytest.MonkeyPatch, output: str = "", code: int = 0, engine: bool = True, **exported: Any
) -> Path:
    """Put a program `trtexec` on the PATH; it writes its arguments to the file that is returned."""
    script = {"output": output, "code": code, "engine": engine}
    script.update({f"--export{name.title().replace('_', '')}": content for name, content in exported.items()})
    told, program = folder / "told.json", folder / "bin" / "trtexec"
    busy = str(folder / "busy")
    text = PROGRAM.format(python=sys.executable, told=str(told), script=json.dumps(script), engine=ENGINE, busy=busy)
    _install(program, text)
    monkeypatch.setenv("PATH", str(program.parent))
    return told


TEGRASTATS = """#!{python}
import pathlib, sys, time
while True:
    print(({running!r} if pathlib.Path({busy!r}).exists() else {idle!r}), flush=True)
    time.sleep(0.02)
"""


def jetson(folder: Path, idle: str, running: str, mode: str = "MAXN") -> None:
    """Put `tegrastats` and `nvpmodel` beside the program `trtexec`; lines of the first while that runs, and before."""
    busy = str(folder / "busy")
    text = TEGRASTATS.format(python=sys.executable, running=running, idle=idle, busy=busy)
    _install(folder / "bin" / "tegrastats", text)
    _install(folder / "bin" / "nvpmodel", f"#!/bin/sh\necho 'NV Power Mode: {mode}'\necho 0\n")


def _install(program: Path, text: str) -> None:
    program.parent.mkdir(exist_ok=True)
    program.write_text(text)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
