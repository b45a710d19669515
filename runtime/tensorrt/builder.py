"""Building an engine with the Python package `tensorrt`, from 8.5 to 10.

What differs between versions is asked for, not looked up: a network has the flag EXPLICIT_BATCH up to 8, can be
STRONGLY_TYPED from 8.6 or 9 on, and a builder reports its progress from 8.6 on.

Source: NVIDIA TensorRT Python API, 8.5.3 and 10.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from ...compiler.errors import CompressError
from ...compiler.pipeline.progress import Progress, silent
from ...compiler.targets import Target
from ...compiler.targets.profiles import Range, open_inputs
from ...compiler.targets.trtexec import BuilderPrecision, EngineOptions, precision
from .hooks import cache_calibrator, collector, monitor
from .messages import clean, is_echo, matters, node_line, once
from .program import failure

OLDEST = (8, 5)
INSTALL = "pip install 'onnx-compress[tensorrt]' on a machine with an NVIDIA GPU"


def import_tensorrt() -> Any:
    """The module; `CompressError` where it is missing or too old."""
    try:
        trt: Any = importlib.import_module("tensorrt")
    except Exception as error:  # a library that cannot be loaded raises almost anything
        raise CompressError(f"the package tensorrt cannot be loaded: {error}", "--via python", INSTALL) from error
    if _version(trt) < OLDEST:
        raise CompressError(f"tensorrt {trt.__version__} is too old: 8.5 is needed", "--via python", "--via trtexec")
    return trt


def build_engine(
    model: Path, engine: Path, target: Target, graph: gs.Graph, options: EngineOptions, progress: Progress = silent
) -> tuple[str, list[str]]:
    """Write the engine of the ONNX file `model`, whose graph is `graph`; the version of TensorRT and its warnings.

    Raises:
        CompressError: no GPU, or TensorRT refuses the model; with its first error.
    """
    trt = import_tensorrt()
    log = collector(trt)
    builder = _builder(trt, log)
    chosen = precision(target, graph, options)
    network = builder.create_network(_network_flags(trt, chosen))
    _parse(trt, network, model, log)
    config = builder.create_builder_config()
    _configure(trt, config, target, options, chosen)
    _add_profile(builder, config, open_inputs(graph, options.shapes), options)
    watch = monitor(trt, progress)
    if watch is not None and hasattr(config, "progress_monitor"):
        config.progress_monitor = watch
    serialized = builder.build_serialized_network(network, config)
    if watch is not None and watch.interrupted:
        raise KeyboardInterrupt
    if serialized is None:
        raise failure(_errors(log), f"tensorrt {trt.__version__}")
    engine.write_bytes(memoryview(serialized))
    _keep_timings(config, options.timing_cache)
    return str(trt.__version__), once(clean(text) for level, text in log.lines if level == "WARNING" and matters(text))


def _version(trt: Any) -> tuple[int, int]:
    major, minor = str(trt.__version__).split(".")[:2]
    return int(major), int(minor)


def _builder(trt: Any, log: Any) -> Any:
    try:
        return trt.Builder(log)
    except (TypeError, RuntimeError) as error:  # what a missing driver looks like from Python
        said = next(iter(_errors(log)), str(error).partition("\n")[0])
        raise CompressError(
            f"tensorrt {trt.__version__} cannot start: {said}",
            "--via python",
            "an NVIDIA GPU and its driver are needed",
        ) from error


def _network_flags(trt: Any, chosen: BuilderPrecision) -> int:
    known = trt.NetworkDefinitionCreationFlag
    names = ["EXPLICIT_BATCH"] * (_version(trt) < (10, 0)) + ["STRONGLY_TYPED"] * chosen.typed
    return sum(1 << int(getattr(known, name)) for name in names if hasattr(known, name))


def _parse(trt: Any, network: Any, model: Path, log: Any) -> None:
    parser = trt.OnnxParser(network, log)
    if parser.parse_from_file(str(model)):
        return
    nodes = onnx.load(model, load_external_data=False).graph.node
    found = [_described(parser.get_error(index), nodes) for index in range(parser.num_errors)]
    raise failure(once(found) or _errors(log), f"tensorrt {trt.__version__}")


def _described(error: Any, nodes: Sequence[onnx.NodeProto]) -> str:
    """Before version 10 an error has only the index of its node."""
    index = int(error.node())
    known = nodes[index] if 0 <= index < len(nodes) else None
    name = error.node_name() if hasattr(error, "node_name") else known.name if known else ""
    op = error.node_operator() if hasattr(error, "node_operator") else known.op_type if known else ""
    return node_line(index, name, op, error.desc())


def _configure(trt: Any, config: Any, target: Target, options: EngineOptions, chosen: BuilderPrecision) -> None:
    flags = trt.BuilderFlag
    for wanted, name in ((chosen.int8, "INT8"), (chosen.fp16, "FP16"), (target.dla, "GPU_FALLBACK")):
        if wanted:
            config.set_flag(getattr(flags, name))
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
    if target.dla:
        config.default_device_type, config.DLA_core = trt.DeviceType.DLA, 0
    if options.calibration is not None:
        config.int8_calibrator = cache_calibrator(trt, Path(options.calibration).read_bytes())
    if options.timing_cache is not None:
        stored = Path(options.timing_cache)
        config.set_timing_cache(config.create_timing_cache(stored.read_bytes() if stored.exists() else b""), False)


def _add_profile(builder: Any, config: Any, ranges: dict[str, Range], options: EngineOptions) -> None:
    if not ranges:
        return
    profile = builder.create_optimization_profile()
    for name, sizes in ranges.items():
        profile.set_shape(name, sizes.min, sizes.opt, sizes.max)
    config.add_optimization_profile(profile)
    if options.calibration is not None:
        config.set_calibration_profile(profile)


def _keep_timings(config: Any, path: str | None) -> None:
    cache = config.get_timing_cache() if path is not None else None
    if path is not None and cache is not None:
        Path(path).write_bytes(memoryview(cache.serialize()))


def _errors(log: Any) -> list[str]:
    return once(clean(text) for level, text in log.lines if level != "WARNING" and not is_echo(text))
