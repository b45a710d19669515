"""Quantization within a budget of quality: as few layers in float as keep it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from builders import Images, model, normal
from onnx_compress import compress
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.copies import copy_graph
from onnx_compress.compiler.graph.io import Model, to_proto
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.overrides import parse_override
from onnx_compress.drivers.compress import Compressed
from onnx_compress.passes.budgets.budget import BudgetUnreachable
from onnx_compress.passes.quantization.mixed_precision import TRIALS
from onnx_compress.passes.quantize import Quantize
from onnx_compress.runtime.quality.judge import SampleJudge
from onnx_compress.runtime.subsets import held_out

TEXT = """
g (float[N,4,8,8] x) => (float[N,6,H,W] y) {
  a = Conv<pads = [1, 1, 1, 1]>(x, w, b)
  s = Sigmoid(a)
  m = Mul(a, s)
  c = Conv<group = 4>(m, d)
  r = Relu(c)
  e = Conv(r, v)
  t = Relu(e)
  y = Conv(t, u)
}
"""
IMAGES = Images(normal(200, 4, 8, 8, seed=9))
DEPTHWISE = "Conv_3"


def network() -> Model:
    """The depthwise Conv reads channels whose ranges differ a thousandfold; the other layers stand INT8 well."""
    gains = np.geomspace(1, 1000, 4, dtype=np.float32)
    shaped = gains.reshape(4, 1, 1, 1)
    weights = {"w": np.abs(normal(4, 4, 3, 3, seed=1)) * shaped, "b": np.abs(normal(4, seed=3)) * gains}
    weights |= {"d": normal(4, 1, 3, 3, seed=4) / shaped, "v": normal(6, 4, 1, 1, seed=5)}
    return model(TEXT, **weights, u=normal(6, 6, 1, 1, seed=6))


def quantized(subject: Model, *overrides: str, target: str = "xavier", **options: object) -> PassResult:
    entry = Quantize(**options)
    given = tuple(parse_override(text, [entry]) for text in overrides)
    ctx = Context(RunOptions(target=target), data=IMAGES, overrides=given, running="quantize")
    ctx.original = copy_graph(subject.graph)
    return entry.run(subject.graph, ctx)


def notes(result: Compressed) -> list[str]:
    return [note for record in result.records for note in record.result.notes]


def in_float(result: PassResult) -> list[str]:
    return [each.node for each in result.decisions if each.action == "skipped"]


def costly(result: PassResult) -> list[str]:
    """Layers in float that INT8 makes faster."""
    return [each.node for each in result.decisions if each.action == "skipped" and each.figures["ms_saved"] > 0]


def error(before: Model, after: Model) -> float:
    return SampleJudge.of(before.graph, IMAGES, "error").judge(after.graph).loss


def test_the_layer_that_costs_most_stays_in_float():
    before, after, whole = network(), network(), network()
    result = quantized(after, error=0.1)
    quantized(whole, noise=1.0)
    assert costly(result) == [DEPTHWISE]
    assert error(before, after) < 0.1 < error(before, whole)
    (decision,) = (each for each in result.decisions if each.node == DEPTHWISE)
    assert decision.reason.startswith("stays in float for error=0.1: INT8 in it alone costs ")
    assert decision.reason.endswith(" us")
    assert any(note.startswith("error=0.1: error=0.0") and "2 layers in float" in note for note in result.notes)
    assert any("2 layers in float (estimated to take " in note for note in result.notes)


def test_the_report_has_the_trials_by_their_time():
    (search,) = quantized(network(), error=0.1).traces.searches
    assert (search.rule, search.allowed, search.cost) == ("error", 0.1, "int8")
    first = search.tried[0]
    assert first.share == 1.0 and not first.passed and first.value > 0.1
    assert min(trial.value for trial in search.tried if trial.passed) < 0.1
    assert not quantized(network()).traces.searches


def test_layers_that_float_makes_faster_leave_with_the_first():
    result = quantized(network(), error=0.1)
    assert in_float(result) == ["Conv_0", DEPTHWISE]
    reason = next(each.reason for each in result.decisions if each.node == "Conv_0")
    assert " of the outputs, and takes longer by " in reason


def test_the_report_says_what_int8_costs_and_saves_in_every_layer():
    results = [quantized(network(), error=0.1), quantized(network())]
    for result, keys in zip(
        results, ({"int8_loss", "int8_divergence", "ms_saved"}, {"int8_loss", "ms_saved"}), strict=True
    ):
        assert [each.node for each in result.decisions] == ["Conv_0", DEPTHWISE, "Conv_5", "Conv_7"]
        assert all(keys <= set(each.figures) for each in result.decisions)
        losses = {each.node: each.figures["int8_loss"] for each in result.decisions}
        assert losses[DEPTHWISE] > 0.1 > 0.01 > max(loss for name, loss in losses.items() if name != DEPTHWISE)
    assert [result.metrics["quantized"] for result in results] == [2, 3]
    assert any("1 layer stays in float (estimated to take " in note for note in results[1].notes)


def test_no_times_where_the_target_has_no_model_of_them():
    """One more layer stays in float than for TensorRT: the Conv that would write these ranges in INT8."""
    result = quantized(network(), target="ort")
    assert not any("ms_saved" in each.figures for each in result.decisions)
    assert any(note.startswith("2 layers stay in float for what") for note in result.notes)


def test_nothing_stays_in_float_where_the_budget_is_kept_without():
    after, whole = network(), network()
    result = quantized(after, error=1.0)
    quantized(whole, noise=1.0)
    assert in_float(result) == []
    assert result.metrics["trials"] == 1
    assert to_proto(after) == to_proto(whole)


def test_the_tighter_the_more_layers():
    counts = [quantized(network(), error=allowed).metrics["in_float"] for allowed in (0.9, 0.3, 0.02, 0.001)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_a_budget_that_no_layer_in_int8_keeps_leaves_the_network():
    after = network()
    result = quantized(after, error=1e-5)
    assert len(in_float(result)) == 4
    assert not any(node.op == "QuantizeLinear" for node in after.graph.nodes)
    assert any("every layer stays in float" in note for note in result.notes)
    assert error(network(), after) < 1e-5


def test_a_budget_that_was_lost_before_is_refused():
    before, after = network(), network()
    for node in after.graph.nodes:
        if node.name == "Conv_7":
            node.inputs[1].values = node.inputs[1].values * np.float32(0.5)
    ctx = Context(RunOptions(), data=IMAGES, running="quantize")
    ctx.original = before.graph
    with pytest.raises(BudgetUnreachable, match=r"error=0\.1 cannot be reached") as caught:
        Quantize(error=0.1).run(after.graph, ctx)
    assert "with 4 layers in float" in str(caught.value)


def test_a_budget_that_layers_kept_in_int8_by_name_exceed_is_refused():
    with pytest.raises(BudgetUnreachable, match=r"--set keeps layers in INT8: error=.* with 0 layers in float"):
        quantized(network(), ".*:quantize.noise=1", error=1e-5)


def matmuls(first: np.ndarray, second: np.ndarray) -> Model:
    """Fully connected layers as MatMul: their rows cannot be read off their tensors."""
    text = """
    g (float[N,4,8,8] x) => (float[N,5] y) {
      c = Conv<kernel_shape = [8, 8]>(x, w)
      f = Flatten(c)
      h = MatMul(f, first)
      y = MatMul(h, second)
    }
    """
    return model(text, w=normal(6, 4, 8, 8, seed=2), first=first, second=second)


def test_a_matmul_that_costs_most_stays_in_float():
    gains = np.geomspace(1, 1000, 6, dtype=np.float32)
    before, after = (matmuls(normal(6, 6, seed=3) * gains, normal(6, 5, seed=4) / gains[:, None]) for _ in range(2))
    result = quantized(after, error=0.03)
    assert "MatMul_3" in in_float(result)
    assert error(before, after) < 0.03


def test_every_matmul_may_stay_in_float():
    before, after = (matmuls(normal(6, 6, seed=3), normal(6, 5, seed=4)) for _ in range(2))
    result = quantized(after, error=1e-5)
    assert len(in_float(result)) == 3
    assert error(before, after) < 1e-5


def test_few_trials():
    assert quantized(network(), error=0.01).metrics["trials"] <= TRIALS


def test_what_is_set_for_a_layer_wins():
    assert in_float(quantized(network(), error=0.02)) == ["Conv_0", DEPTHWISE]
    result = quantized(network(), "Conv_0:quantize.noise=1", error=0.02)
    assert in_float(result) == [DEPTHWISE, "Conv_7"]


@pytest.mark.parametrize("allowed", [0.1, 0.02, 0.005])
def test_layers_with_one_weight_stay_together(allowed: float):
    text = TEXT.replace("e = Conv(r, v)", "q = Conv(r, v) e = Conv(q, v)")
    square = normal(4, 4, 1, 1, seed=5)
    subject = network()
    weights = {name: each.values for name, each in subject.graph.tensors().items() if name in "wbd"}
    shared = model(text, **weights, v=square, u=normal(6, 4, 1, 1, seed=6))
    found = in_float(quantized(shared, error=allowed))
    both = {f"Conv_{number}" for number in (5, 6)}
    assert both <= set(found) or not both & set(found)


def test_judged_on_samples_that_were_kept_apart():
    result = compress(to_proto(network()), "quantize:error=0.1", data=IMAGES.x)
    _, kept = held_out(IMAGES)
    assert kept is not None
    assert any(f"on {kept.samples} held-out samples" in note for note in notes(result))


def test_by_the_metric_of_the_user():
    calls: list[float] = []
    before = network()
    wanted = SampleJudge.of(before.graph, IMAGES, "error")

    def likeness(predict: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> float:
        found = predict({"x": IMAGES.x})["y"]
        calls.append(100 - 100 * float(np.square(found - truth).sum() / np.square(truth).sum()))
        return calls[-1]

    truth = next(iter(wanted.original.run({"x": IMAGES.x}).values()))
    result = compress(to_proto(network()), "quantize:metric-drop=1", data=IMAGES.x, metric=likeness)
    assert 99 <= calls[-1] < 100
    assert len(calls) <= TRIALS + 2
    assert any(note.startswith("metric-drop=1: ") for note in notes(result))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"agreement": 0.9, "error": 0.1}, "expected one budget"),
        ({"agreement": 1.5}, "agreement"),
        ({"accuracy_drop": -1.0}, "accuracy-drop"),
    ],
)
def test_bad_budgets(options: dict[str, float], words: str):
    with pytest.raises(CompressError, match=words):
        compress(to_proto(network()), _spelled(options), data=IMAGES.x)


def _spelled(options: dict[str, float]) -> str:
    return ":".join(["quantize", *(f"{name.replace('_', '-')}={value}" for name, value in options.items())])


@pytest.mark.parametrize("budget", ["agreement=0.9", "error=0.1", "accuracy-drop=1"])
def test_a_budget_needs_data(budget: str):
    with pytest.raises(CompressError, match="needs data"):
        compress(to_proto(network()), f"quantize:{budget}")


def test_a_cache_has_no_layers_in_float():
    with pytest.raises(CompressError, match="form=pairs"):
        compress(to_proto(network()), "quantize:error=0.1", data=IMAGES.x, target="xavier-dla")


def test_same_seed_same_bytes():
    once, again = network(), network()
    quantized(once, error=0.1)
    quantized(again, error=0.1)
    assert to_proto(once).SerializeToString(deterministic=True) == to_proto(again).SerializeToString(deterministic=True)
