"""Sensitivities: measured on held-out samples by the divergence of outputs, kept on disk, used in division."""

from __future__ import annotations

import json
import shutil
from math import prod
from pathlib import Path

import builders
import numpy as np
import pytest
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.data import Data
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.spec import parse_pipeline
from onnx_compress.passes.sensitivity import measure as sensitivity
from onnx_compress.passes.sensitivity.measure import WeightDivergence, divergence
from onnx_compress.passes.sensitivity.table import LayerSensitivity, SensitivityTable

NETWORK = """g (float[N,3,12,12] x) => (float[N,6] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    r = Relu(a)
    b = Conv<pads=[1,1,1,1]>(r, w2)
    z = Mul(b, small)
    c = Conv<pads=[1,1,1,1]>(r, w3)
    s = Add(z, c)
    p = GlobalAveragePool(s)
    f = Flatten(p)
    y = Gemm<transB=1>(f, w4)
}"""


def network() -> Model:
    """The branch of w2 is scaled by 0.05 before it joins that of w3."""
    shapes = {"w1": (16, 3, 3, 3), "w2": (16, 16, 3, 3), "w3": (16, 16, 3, 3), "w4": (6, 16)}
    weights = {
        n: builders.normal(*s, seed=i) / np.float32(prod(s[1:]) ** 0.5) for i, (n, s) in enumerate(shapes.items())
    }
    return builders.model(NETWORK, **weights, small=np.full(1, 0.05, np.float32))


def images(count: int = 160) -> builders.Images:
    return builders.Images(builders.normal(count, 3, 12, 12, seed=9))


def apply(spec: str, data: Data | None) -> PassResult:
    model = network()
    (entry,) = parse_pipeline(spec)
    return entry.run(model.graph, Context(data=data, original=model.graph.copy()))


def gains(result: PassResult) -> list[float]:
    decisions = [d for d in result.decisions if "sensitivity" in d.figures]
    order = [conv for conv in network().graph.nodes if conv.op == "Conv"]
    found = {d.node: float(d.figures["sensitivity"]) for d in decisions}
    return [found[conv.name] for conv in order if conv.name in found]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_branch_that_hardly_reaches_the_output_counts_little() -> None:
    faint, strong = gains(apply("basis:macs=0.5:sensitivity=output", images()))[-2:]
    assert faint < 0.2 * strong


def test_by_energy_every_conv_counts_the_same() -> None:
    assert gains(apply("basis:macs=0.5:sensitivity=energy", images())) == []


def test_by_default_nothing_is_measured() -> None:
    assert gains(apply("basis:macs=0.5", images())) == []


def test_a_cache_that_is_no_table_or_no_folder_does_not_stop_a_run(cache: Path) -> None:
    spec = "basis:macs=0.5:sensitivity=output"
    first = gains(apply(spec, images()))
    (file,) = cache.rglob("*.json")
    file.write_text("{")
    assert gains(apply(spec, images())) == first
    shutil.rmtree(cache)
    cache.write_text("not a folder")
    assert gains(apply(spec, images())) == first


def test_a_table_is_measured_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = apply("basis:macs=0.5:sensitivity=output", images())
    monkeypatch.setattr(sensitivity, "WeightDivergence", None)
    again = apply("basis:macs=0.6:sensitivity=output", images())
    assert gains(again) == gains(first)
    assert len(list(cache.rglob("*.json"))) == 1
    with pytest.raises(TypeError):
        apply("basis:macs=0.5:sensitivity=output", images(100))


def test_a_table_is_written_where_it_is_wanted_and_read_from_there(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    measured = gains(apply(f"basis:macs=0.5:sensitivity=output:sensitivity-file={file}", images()))
    table = SensitivityTable.load(file)
    assert [table.layers[name].gain for name in table.layers] == measured
    assert all(entry.points for entry in table.layers.values())
    content = json.loads(file.read_text())
    for entry in content["layers"].values():
        entry["gain"] = 2.5
    file.write_text(json.dumps(content))
    assert set(gains(apply(f"basis:macs=0.5:sensitivity-file={file}", None))) == {2.5}


def test_the_context_names_a_table_for_passes_without_one(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    model, (entry,) = network(), parse_pipeline("basis:macs=0.5")
    context = Context(RunOptions(sensitivity_file=str(file)), images(), original=model.graph.copy())
    assert gains(entry.run(model.graph, context)) == [
        entry.gain for entry in SensitivityTable.load(file).layers.values()
    ]


def test_a_gain_is_the_tempered_slope_relative_to_the_other_convs() -> None:
    points = [(0.02, 0.001), (0.08, 0.004), (0.25, 0.0125)]
    table = sensitivity.tabulate({"a": points, "b": [(error, 16 * cost) for error, cost in points]})
    ratio = table.layers["b"].gain / table.layers["a"].gain
    assert ratio == pytest.approx(16**sensitivity.TEMPER)
    assert table.layers["a"].gain * table.layers["b"].gain == pytest.approx(1)
    assert table.layers["a"] == LayerSensitivity(table.layers["a"].gain, tuple(points))


def test_output_without_data_is_refused() -> None:
    with pytest.raises(CompressError, match="sensitivity=output needs data"):
        apply("basis:macs=0.5:sensitivity=output", None)


CLASSES = """g (float[N,3,8,8] x) => (float[N,5] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1, b1)
    r = Relu(a)
    c = Conv<pads=[1,1,1,1]>(r, w2)
    s = Add(c, r)
    p = GlobalAveragePool(s)
    f = Flatten(p)
    y = Gemm<transB=1>(f, w3)
}"""
MAPS = CLASSES.replace("float[N,5] y", "float[N,3,8,8] s").split("p = Global")[0] + "}"
TAPS = MAPS.replace("float[N,3,8,8] s", "float[N,3,8,8] a, float[N,3,8,8] s")


def classifier(text: str) -> Model:
    weights = {"w1": builders.normal(3, 3, 3, 3), "w2": builders.normal(3, 3, 3, 3, seed=1), "b1": builders.normal(3)}
    return builders.model(text, **weights, **({"w3": builders.normal(5, 3, seed=2)} if text is CLASSES else {}))


@pytest.mark.parametrize("text", [CLASSES, MAPS, TAPS], ids=["classes", "maps", "inner output"])
def test_it_is_that_of_the_network_with_the_other_weight(text: str) -> None:
    source, x = classifier(text), builders.normal(100, 3, 8, 8, seed=5)
    before = builders.run(source, x=x)
    trials = WeightDivergence(source.graph, builders.Images(x))
    for position, conv in enumerate(find_convs(source.graph)):
        bias = np.zeros(3) if conv.bias is None else conv.bias
        other = (conv.matrix() * 0.5, bias + 1)
        same, found = trials.divergences(conv, [(conv.matrix(), bias), other])
        changed = classifier(text)
        target = list(find_convs(changed.graph))[position]
        target.store(Rewriter(changed.graph), *other)
        after = builders.run(changed, x=x)
        assert same == pytest.approx(0, abs=1e-6)
        assert found == pytest.approx(
            divergence([list(before.values())], [list(after.values())], trials._kind), rel=1e-3
        )
        assert found > 1e-3
    np.testing.assert_array_equal(builders.run(source, x=x)[source.graph.outputs[0].name], next(iter(before.values())))


def test_it_is_the_kullback_leibler_divergence_of_the_classes() -> None:
    p, q = np.array([[0.5, 0.25, 0.25]]), np.array([[0.25, 0.5, 0.25]])
    found = divergence([[np.log(p) + 3]], [[np.log(q) - 1]])
    assert found == pytest.approx(0.25 * np.log(2))


def test_it_is_the_relative_distance_of_a_map_of_classes() -> None:
    a, b = np.full((1, 2, 2, 2), 2.0), np.full((1, 2, 2, 2), 1.0)
    assert divergence([[a]], [[b]], "maps") == pytest.approx(0.25)


def test_other_outputs_count_by_what_their_channels_move() -> None:
    """Scores beside boxes that are a thousand times as large."""
    boxes, scores = 1000 * builders.normal(8, 90, 4), builders.normal(8, 90, 4, seed=1)
    a = np.concatenate([boxes, scores], axis=2)
    b, c = a.copy(), a.copy()
    b[..., 0] += 100 * builders.normal(8, 90, seed=2)
    c[..., 7] += 0.1 * builders.normal(8, 90, seed=2)
    assert divergence([[a]], [[b]], "values") == pytest.approx(divergence([[a]], [[c]], "values"), rel=0.1)


def test_scores_of_a_sure_network_are_softened() -> None:
    """So far that the likeliest class has about the probability that is wanted; those of an unsure one never."""
    sure, unsure = [[20 * builders.normal(64, 10)]], [[0.1 * builders.normal(64, 10)]]
    hot = sensitivity.softening(sure, 0.6)
    chances = np.exp(sure[0][0] / hot)
    assert 0.5 < (chances.max(1) / chances.sum(1)).mean() <= 0.6
    assert sensitivity.softening(unsure, 0.6) == 1.0
    assert sensitivity.softening([[1e6 * sure[0][0]]], 0.6) == sensitivity.HOTTEST
