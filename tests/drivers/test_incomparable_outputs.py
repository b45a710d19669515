"""Runs over networks whose outputs have as many rows as the values want, or differ from run to run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import normal, proto
from onnx_compress import compress
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.drivers.checks import parse_check
from onnx_compress.drivers.compare import compare_models
from onnx_compress.runtime.data import Input, load_data

STORED = {
    "w1": 0.3 * normal(16, 3, 3, 3),
    "w2": 0.1 * normal(16, 16, 3, 3, seed=1),
    "wb": 0.1 * normal(4, 16, 3, 3, seed=2),
    "wc": 0.1 * normal(2, 16, 3, 3, seed=3),
    "sb": np.array([0, 4, -1], np.int64),
    "sc": np.array([0, 2, -1], np.int64),
    "many": np.array([20], np.int64),
    "half": np.array([0.5], np.float32),
    "two": np.array(2, np.int64),
    "zero": np.array([0], np.int64),
    "least": np.array([0.5], np.float32),
    "all": np.array([1000], np.int64),
    "wu": 0.3 * normal(32, 16, 1, 1, seed=4),
    "wz": 0.3 * normal(8, 32, 1, 1, seed=5),
    "sf": np.array([16, -1], np.int64),
    "sk": np.array([-1, 16, 1, 1], np.int64),
}
BACKBONE = """a = Conv<pads = [1,1,1,1]>(x, w1) r = Relu(a) b = Conv<pads = [1,1,1,1]>(r, w2) q = Relu(b)
    d = Conv<pads = [1,1,1,1]>(q, wb) e = Conv<pads = [1,1,1,1]>(q, wc)"""
DETECTOR = f"""g (float[1,3,16,16] x) => (int64[K,3] kept, float[K,4] best) {{ {BACKBONE}
    bs = Reshape(d, sb) boxes = Transpose<perm = [0,2,1]>(bs) ss = Reshape(e, sc) scores = Sigmoid(ss)
    kept = NonMaxSuppression(boxes, scores, many, half, half)
    i = Gather<axis = 1>(kept, two) bx = Squeeze(boxes, zero) best = Gather(bx, i) }}"""
BOXES = DETECTOR.replace("float[K,4] best", "float[K,8,1,1] y").replace("many, half, half", "all, half, least")
TWO_STAGES = f"""{BOXES[:-2]}
    f = Reshape(q, sf) ft = Transpose(f) g = Gather(ft, i) h = Reshape(g, sk)
    u = Conv(h, wu) v = Relu(u) y = Conv(v, wz) }}"""
SAMPLED = """g (float[N,3,16,16] x) => (float[N,16,16,16] y)
    { a = Conv<pads = [1,1,1,1]>(x, w1) n = RandomNormalLike(a) s = Add(a, n) BODY }"""
DECODED = SAMPLED.replace("BODY", "y = Conv<pads = [1,1,1,1]>(s, w2)")
LAST = SAMPLED.replace("BODY", "y = Relu(s)")
X = Input("x", np.dtype(np.float32), (1, 3, 16, 16))


def network(text: str) -> onnx.ModelProto:
    words = text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    return proto(text, **{name: values for name, values in STORED.items() if name in words})


@pytest.fixture
def images(tmp_path: Path) -> Path:
    path = tmp_path / "images.npz"
    np.savez(path, x=normal(64, 3, 16, 16))
    return path


@pytest.mark.parametrize("passes", ["basis:bytes=0.7", "prune:params=0.7", "codebook", "sbf:energy=0.9", "quantize"])
def test_layers_behind_the_boxes_are_compressed_too(passes: str, images: Path):
    result = compress(network(TWO_STAGES), passes, data=images)
    assert {"Conv_18", "Conv_20"} <= {one.node for each in result.records for one in each.result.decisions}
    quality = result.report["quality"]
    assert quality is not None
    assert quality["output_error"] < 0.7


@pytest.mark.parametrize(
    "passes", ["basis:energy=0.9", "prune:params=0.7", "codebook", "quantize", "quantize:balance=none"]
)
def test_layers_that_no_sample_reaches_are_named(passes: str, images: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(images.parent)
    monkeypatch.setitem(STORED, "least", np.array([1.5], np.float32))
    with pytest.raises(CompressError, match=r"data: .* is empty on all samples") as caught:
        compress(network(TWO_STAGES), passes, data=images)
    assert "report" not in str(caught.value)
    assert not list(images.parent.glob("fail-*"))


@pytest.mark.parametrize(
    "passes", ["basis:macs=0.6", "basis:macs=0.6:sensitivity=output", "prune:macs=0.7", "quantize"]
)
def test_a_detector_is_compressed(passes: str, images: Path):
    result = compress(network(DETECTOR), passes, data=images)
    quality = result.report["quality"]
    assert quality is not None
    assert 0 < quality["output_error"] < 1
    assert quality["agreement"] is None


def test_a_detector_is_judged_by_what_its_boxes_are_made_of(images: Path):
    original, other = network(DETECTOR), network(DETECTOR)
    changed = onnx.numpy_helper.from_array(1.5 * STORED["wb"], "wb")
    other.graph.initializer.remove(next(tensor for tensor in other.graph.initializer if tensor.name == "wb"))
    other.graph.initializer.append(changed)
    first, second = (compress(each, [], legalize=False).model for each in (original, other))
    data = load_data(images, [X])
    ctx = Context(data=data)
    assert parse_check("error<=1e-6", first, ctx)(first)
    assert not parse_check("error<=0.1", first, ctx)(second)
    assert parse_check("error<=0.6", first, ctx)(second)
    found = compare_models(first, second, data)
    assert [entry.tensor for entry in found.outputs] == ["boxes", "scores", "bx"]
    assert found.outputs[0].error == pytest.approx(0.5, rel=1e-3)
    assert [entry.agreement for entry in found.outputs] == [None] * 3


def test_a_layer_that_reads_random_numbers_is_refused_with_data(images: Path):
    with pytest.raises(CompressError, match="random numbers, so that no two runs can be compared"):
        compress(network(DECODED), "quantize", data=images)
    compress(network(DECODED), "codebook")


def test_random_numbers_behind_the_layers_are_left_out_of_the_comparison(images: Path):
    result = compress(network(LAST), "basis:macs=0.9", data=images)
    assert result.report["quality"] is not None
    assert result.report["quality"]["output_error"] < 1
