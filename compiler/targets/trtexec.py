"""The command that compiles a model on the device, with options that the trtexec of the target's version knows.

1. Precision. TensorRT 8: INT8 and FP16 where the graph has Q/DQ pairs or a calibration cache comes with it (without
   FP16 the layers outside of the pairs would run in FP32), FP16 otherwise. TensorRT 10: strongly typed, the engine
   takes the types that the model states; only a calibration cache still needs INT8 and FP16.
2. Shapes are given for the inputs with open dimensions and for no others: trtexec refuses them for a static model, and
   takes 1 for open dimensions that no option sets.
3. The DLA takes what it can and leaves the rest to the GPU.
4. The printed line gives kernels `WORKSPACE` MiB (TensorRT 8.0 and 8.2 give 16 unasked, too few for many kernels), and
   keeps what it measured for the next build, in a timing cache beside the engine.
5. A model with an operator of the project's names the library of its plugin: `--plugins`, from TensorRT 8.6 on
   `--staticPlugins`.

Sources: NVIDIA/TensorRT, samples/common/sampleOptions.cpp of release/8.0, 8.2, 8.4, 8.5 and 10; which option came with
which release is `SINCE`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

import onnx_graphsurgeon as gs

from ..graph.shapes import Shapes
from ..graph.storage.operators import declared
from . import Target
from .profiles import Range, open_inputs

TEMPLATE = "{model}"
QUANTIZERS = frozenset(("QuantizeLinear", "DequantizeLinear"))
TYPED = (10, 0)
WORKSPACE = 2048
SINCE = {
    "--timingCacheFile": (8, 0),
    "--noDataTransfers": (8, 0),
    "--separateProfileRun": (8, 0),
    "--profilingVerbosity": (8, 2),
    "--exportLayerInfo": (8, 2),
    "--memPoolSize": (8, 4),
    "--staticPlugins": (8, 6),
}
DLA = "--useDLACore=0"
LIBRARY = "libonnx_compress_plugins.so"


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is built.

    Attributes:
        int8, fp16: precisions that the builder may choose; both None follow rule 1.
        shapes: ranges of the inputs with open dimensions; others get nominal sizes.
        calibration: file of the ranges of a model without Q/DQ pairs.
        timing_cache: file that keeps the measured kernels from one build to the next.
        workspace: MiB that a kernel may use for itself; None leaves it to TensorRT.
    """

    int8: bool | None = None
    fp16: bool | None = None
    shapes: Mapping[str, Range] = field(default_factory=dict[str, Range])
    calibration: str | None = None
    timing_cache: str | None = None
    workspace: int | None = None


@dataclass(frozen=True)
class BuilderPrecision:
    """What the builder may choose from; `typed`: nothing, the model states its types."""

    int8: bool = False
    fp16: bool = False
    typed: bool = False

    @property
    def name(self) -> str:
        """The lowest precision that is allowed."""
        return "as typed" if self.typed else "int8" if self.int8 else "fp16" if self.fp16 else "fp32"


def precision(target: Target, graph: gs.Graph, options: EngineOptions) -> BuilderPrecision:
    """Rule 1."""
    if options.int8 is not None or options.fp16 is not None:
        return BuilderPrecision(bool(options.int8), bool(options.fp16))
    if options.calibration is None and (target.tensorrt or TYPED) >= TYPED:
        return BuilderPrecision(typed=True)
    quantized = any(node.op in QUANTIZERS for node in graph.nodes)
    return BuilderPrecision(int8=quantized or options.calibration is not None, fp16=True)


def command_line(
    target: Target,
    graph: gs.Graph,
    model: str = TEMPLATE,
    *,
    calibration: str | None = None,
    engine: str | None = None,
    shapes: Mapping[str, Range] | None = None,
    sample: Shapes | None = None,
    extra: Sequence[str] = (),
) -> str:
    """The shell line that compiles `graph`, stored in the file `model`, with the tool of `target`.

    Args:
        calibration: the calibration cache that lies beside the model.
        engine: the file to write; default: that of the model with the ending `.engine`.
        shapes: ranges of inputs with open dimensions.
        sample: shapes of one calibration sample, for open dimensions other than the batch of inputs without a range.
        extra: further options, `steady_latency(target)` for one.
    """
    if target.tensorrt is None:
        return _onnxruntime(model)
    stem = model if model == TEMPLATE else str(PurePath(model).with_suffix(""))
    written = engine or f"{stem}.engine"
    chosen = EngineOptions(
        shapes=open_inputs(graph, shapes, sample),
        calibration=calibration,
        timing_cache=f"{stem}.timing",
        workspace=WORKSPACE,
    )
    options = arguments(target, graph, model, written, chosen)
    return " ".join(["trtexec", *(_quoted(option) for option in [*options, *extra])])


def arguments(target: Target, graph: gs.Graph, model: str, engine: str, options: EngineOptions) -> list[str]:
    """The arguments of trtexec, unquoted; `UsageError` for shapes that the model does not have."""
    chosen = precision(target, graph, options)
    found = [f"--onnx={model}", f"--saveEngine={engine}"]
    found += ["--stronglyTyped"] * chosen.typed + ["--int8"] * chosen.int8 + ["--fp16"] * chosen.fp16
    if options.calibration is not None:
        found.append(f"--calib={options.calibration}")
    found += _shapes(open_inputs(graph, options.shapes))
    if target.dla:
        found += [DLA, "--allowGPUFallback"]
    found += _plugins(target, graph)
    if options.workspace is not None:
        sized = _knows(target, "--memPoolSize")
        found.append(f"--memPoolSize=workspace:{options.workspace}" if sized else f"--workspace={options.workspace}")
    if options.timing_cache is not None:
        found.append(f"--timingCacheFile={options.timing_cache}")
    return [option for option in found if _knows(target, option)]


def run_arguments(
    target: Target, graph: gs.Graph, engine: str, options: EngineOptions, seconds: float, warm_up: float
) -> list[str]:
    """The arguments of trtexec that run the saved `engine` for so many seconds, after `warm_up` seconds of the same.

    Inputs with open dimensions get the sizes that the engine is best at.
    """
    ranges = {
        name: Range(entry.opt, entry.opt, entry.opt) for name, entry in open_inputs(graph, options.shapes).items()
    }
    found = [f"--loadEngine={engine}", *_shapes(ranges), *([DLA] if target.dla else []), *_plugins(target, graph)]
    found += ["--useCudaGraph", "--noDataTransfers", f"--warmUp={1e3 * warm_up:g}", f"--duration={seconds:g}"]
    return [option for option in found if _knows(target, option)]


def steady_latency(target: Target, profile: str = "profile.json", layers: str = "layers.json") -> list[str]:
    """Options for a latency without launch gaps and copies, and for the milliseconds of each layer as JSON."""
    wanted = ["--useCudaGraph", "--useSpinWait", "--noDataTransfers", "--separateProfileRun"]
    wanted += [f"--exportProfile={profile}", f"--exportLayerInfo={layers}", "--profilingVerbosity=detailed"]
    return [option for option in wanted if _knows(target, option)]


def _knows(target: Target, option: str) -> bool:
    return (target.tensorrt or TYPED) >= SINCE.get(option.partition("=")[0], (0, 0))


def _plugins(target: Target, graph: gs.Graph) -> list[str]:
    """Rule 5."""
    option = "--staticPlugins" if _knows(target, "--staticPlugins") else "--plugins"
    return [f"{option}={LIBRARY}"] if declared(graph) else []


def _shapes(ranges: Mapping[str, Range]) -> list[str]:
    """Rule 2; `--shapes` alone stands for all three."""
    if not ranges:
        return []
    fixed = all(entry.fixed for entry in ranges.values())
    each = (("--minShapes", "min"), ("--optShapes", "opt"), ("--maxShapes", "max"))
    return [
        f"{flag}={','.join(f'{name}:' + 'x'.join(map(str, getattr(entry, part))) for name, entry in ranges.items())}"
        for flag, part in ([("--shapes", "opt")] if fixed else each)
    ]


def _quoted(option: str) -> str:
    flag, equals, value = option.partition("=")
    return option if TEMPLATE in option else f"{flag}{equals}{shlex.quote(value) if value else ''}"


def _onnxruntime(model: str) -> str:
    code = f"import onnxruntime; onnxruntime.InferenceSession('{model}')"
    if set(model) & set("\"'$`\\!"):
        return shlex.join(["python", "-c", f"import onnxruntime; onnxruntime.InferenceSession({model!r})"])
    return f'python -c "{code}"'
