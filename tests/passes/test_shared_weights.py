"""Weights that several layers share stay shared, whatever a pass does, and are counted once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import model, normal, proto, run
from onnx_compress import compress
from onnx_compress.compiler.costs.network_cost import graph_cost
from onnx_compress.compiler.graph.shapes import infer_shapes

LEVELS = """g (float[N,3,16,16] x) => (float[N,8,3,1] y) {
    p = Conv<pads=[1,1,1,1]>(x, w1, b1) r = Relu(p)
    a0 = Conv<pads=[1,1,1,1]>(r, w2, b2) c0 = Relu(a0) e0 = Conv<pads=[1,1,1,1]>(c0, w3, b3)
    q = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)
    a1 = Conv<pads=[1,1,1,1]>(q, w2, b2) c1 = Relu(a1) e1 = Conv<pads=[1,1,1,1]>(c1, w3, b3)
    s = MaxPool<kernel_shape=[2,2], strides=[2,2]>(q)
    a2 = Conv<pads=[1,1,1,1]>(s, w2, b2) c2 = Relu(a2) e2 = Conv<pads=[1,1,1,1]>(c2, w3, b3)
    g0 = GlobalAveragePool(e0) g1 = GlobalAveragePool(e1) g2 = GlobalAveragePool(e2)
    y = Concat<axis=2>(g0, g1, g2)
}"""
TWINS = """g (float[N,3,16,16] x, float[N,3,16,16] z) => (float[N,4] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1, b1) b = Relu(a) c = Conv<pads=[1,1,1,1]>(b, w2, b2) d = Relu(c)
    e = GlobalAveragePool(d) f = Flatten(e) l = Gemm(f, m2)
    i = Conv<pads=[1,1,1,1]>(z, w1, b1) j = Relu(i) k = Conv<pads=[1,1,1,1]>(j, w2, b2) o = Relu(k)
    p = GlobalAveragePool(o) q = Flatten(p) r = Gemm(q, m2)
    y = Sub(l, r)
}"""
RECURRENT = """g (float[N,3,16,16] x) => (float[N,32,16,16] y) {
    a = Conv<pads=[1,1,1,1]>(x, w6, b2) r1 = Relu(a)
    c1 = Conv<pads=[1,1,1,1]>(r1, w4, b2) s1 = Add(c1, a) r2 = Relu(s1)
    c2 = Conv<pads=[1,1,1,1]>(r2, w4, b2) s2 = Add(c2, a) r3 = Relu(s2)
    y = Conv<pads=[1,1,1,1]>(r3, w5, b2)
}"""


def smooth(*shape: int, seed: int) -> np.ndarray:
    """A weight that is near to one of low rank, as trained ones are."""
    rng, rest = np.random.default_rng(seed), int(np.prod(shape[1:]))
    rank = max(2, shape[0] // 4)
    weight = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, rest)) / rest
    return (weight + 0.02 * rng.standard_normal(weight.shape)).reshape(shape).astype(np.float32)


WEIGHTS = {
    "w1": smooth(8, 3, 3, 3, seed=1), "b1": normal(8, seed=2) / 10,
    "w2": smooth(32, 8, 3, 3, seed=3), "b2": normal(32, seed=4) / 10,
    "w3": smooth(8, 32, 3, 3, seed=5), "b3": normal(8, seed=6) / 10,
    "w4": smooth(32, 32, 3, 3, seed=7), "w5": smooth(32, 32, 3, 3, seed=8), "w6": smooth(32, 3, 3, 3, seed=9),
    "m2": normal(32, 4, seed=9),
}  # fmt: skip
ANYHOW = """g (float[N,3,16,16] x) => (float[N,32,8,6] y) {
    a = Conv<pads=[1,1,1,1]>(x, w6, b2) r1 = Relu(a)
    c1 = Conv<pads=[2,2,2,2], dilations=[2,2]>(r1, w4, b2) r2 = Relu(c1)
    c2 = Conv<auto_pad="SAME_UPPER">(r2, w4, b2) r3 = Relu(c2)
    y = Conv<pads=[2,0,2,0], dilations=[2,2], strides=[2,2]>(r3, w4, b2)
}"""
FACTORIZED = ("basis:macs=0.7", "sbf:macs=0.9", "sparse-lowrank:macs=0.8", "prune:macs=0.7")
STORED = ("codebook", "filter-summary:ratio=1.3", "quantize", "quantize:bias_correction=false")


def used(text: str) -> onnx.ModelProto:
    return proto(text, **{name: values for name, values in WEIGHTS.items() if f"{name}," in text or f"{name})" in text})


def compressed(source: onnx.ModelProto, pipeline: str, tmp_path: Path, target: str = "ort"):
    feeds = {entry.name: normal(64, 3, 16, 16, seed=i) for i, entry in enumerate(source.graph.input)}
    np.savez(tmp_path / "data.npz", **feeds)
    return compress(source, pipeline, target=target, data=tmp_path / "data.npz")


@pytest.mark.parametrize("pipeline", [*FACTORIZED, *STORED])
@pytest.mark.parametrize("text", [LEVELS, TWINS, RECURRENT], ids=["levels", "twins", "recurrent"])
def test_the_file_does_not_grow_and_figures_are_of_the_file(text, pipeline, tmp_path):
    source = used(text)
    result = compressed(source, pipeline, tmp_path)
    assert result.report["after"]["bytes"] < 1.3 * source.ByteSize()
    floats = [each for each in result.proto.graph.initializer if each.data_type == onnx.TensorProto.FLOAT]
    assert len({each.raw_data for each in floats if len(each.dims) > 1}) == sum(len(each.dims) > 1 for each in floats)
    assert result.report["quality"]["output_error"] < 0.7


def test_budgets_count_what_is_stored(tmp_path):
    source = used(LEVELS)
    stored = {name: WEIGHTS[name].size for name in ("w1", "b1", "w2", "b2", "w3", "b3")}
    before = model(LEVELS, **{name: WEIGHTS[name] for name in stored}).graph
    assert graph_cost(before, infer_shapes(before)).params == sum(stored.values())
    result = compressed(source, "basis:params=0.7", tmp_path)
    convs = [each for each in result.graph.nodes if each.op == "Conv"]
    tensors = {id(tensor): tensor for each in convs for tensor in each.inputs[1:]}
    assert sum(tensor.values.size for tensor in tensors.values()) == result.report["after"]["params"]
    assert result.report["after"]["params"] <= 0.7 * sum(stored.values())


@pytest.mark.parametrize("pipeline", [*FACTORIZED, *STORED, "basis:macs=0.7,quantize"])
@pytest.mark.parametrize("target", ["xavier", "ort"])
def test_twin_branches_say_the_same_of_the_same(pipeline, target, tmp_path):
    result = compressed(used(TWINS), pipeline, tmp_path, target)
    x = normal(4, 3, 16, 16, seed=7)
    assert np.abs(run(result.model, x=x, z=x)["y"]).max() < 1e-6
    assert np.abs(run(result.model, x=x, z=normal(4, 3, 16, 16, seed=8))["y"]).max() > 1e-3


def test_decisions_are_there_for_every_use(tmp_path):
    result = compressed(used(LEVELS), "basis:macs=0.7", tmp_path)
    (record,) = [each for each in result.records if each.name == "basis"]
    (later,) = [each for each in record.result.decisions if each.node == "Conv_10"]
    assert (later.action, later.reason) == ("rewritten", "shares its weight with Conv_2")


FORMS = (
    "basis:form=channel",
    "basis:form=separable",
    "sparse-lowrank:form=channels",
    "sparse-lowrank:form=rows",
    "sbf",
)


@pytest.mark.parametrize("form", FORMS)
def test_every_use_keeps_its_strides_pads_and_dilations(form, tmp_path):
    vectors = (normal(size, seed=seed) for seed, size in enumerate((32, 32, 3, 3)))
    one = np.einsum("n,c,h,w->nchw", *vectors) / 20
    weights = {"w6": WEIGHTS["w6"], "w4": one, "b2": WEIGHTS["b2"]}
    result = compressed(proto(ANYHOW, **weights), f"{form}:energy=0.999", tmp_path)
    assert "rewritten" in {each.action for record in result.records for each in record.result.decisions}
    x = normal(4, 3, 16, 16, seed=7)
    wanted = run(model(ANYHOW, **weights), x=x)["y"]
    assert np.linalg.norm(run(result.model, x=x)["y"] - wanted) < 0.1 * np.linalg.norm(wanted)


@pytest.mark.parametrize("pipeline", ["basis:energy=0.9", "codebook", "quantize", "prune:share=0.25"])
def test_a_weight_that_a_transposed_conv_reads_too_is_left_alone(pipeline, tmp_path):
    text = """g (float[N,3,16,16] x) => (float[N,3,16,16] y) {
        a = Conv<pads=[1,1,1,1]>(x, w6, b2) r = Relu(a) c = Conv<pads=[1,1,1,1]>(r, w4) e = Relu(c)
        d = ConvTranspose<pads=[1,1,1,1]>(e, w4) f = Relu(d) y = ConvTranspose<pads=[1,1,1,1]>(f, w6) }"""
    result = compressed(used(text), pipeline, tmp_path)
    transposed = [each for each in result.graph.nodes if each.op == "ConvTranspose"]
    convs = [each for each in result.graph.nodes if each.op == "Conv"]
    assert {id(each.inputs[1]) for each in transposed} == {id(each.inputs[1]) for each in convs}


def test_an_excluded_use_keeps_all(tmp_path):
    np.savez(tmp_path / "data.npz", x=normal(64, 3, 16, 16))
    result = compress(used(LEVELS), "basis:macs=0.99", target="ort", data=tmp_path / "data.npz", exclude="Conv_8")
    (record,) = [each for each in result.records if each.name == "basis"]
    reasons = {each.node: each.reason for each in record.result.decisions}
    assert reasons["Conv_4"] == "shares its weight with 'Conv_8': excluded by --exclude Conv_8"
