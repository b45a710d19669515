"""Before: a model that an engine refuses or misreads. Expected: the same outputs, written as it wants them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from builders import listing, model, node, normal, proto, run
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.io import Model, from_proto, to_proto
from onnx_compress.compiler.lint import lint
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.targets import TARGETS
from onnx_compress.passes.legalize import Legalize

CONV = "y = Conv(x, w)"


def legalize(before: Model, target: str = "xavier", **feeds: np.ndarray) -> list[str]:
    """What was mended; the outputs stay and the target's lint finds no error."""
    expected = run(before, **feeds) if feeds else {}
    result = Legalize().run(before.graph, Context(RunOptions(target=target)))
    check_graph(before)
    for name, values in (run(before, **feeds) if feeds else {}).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-5)
    assert not [f for f in lint(to_proto(before), TARGETS[target]) if f.severity == "error"]
    assert result.changed == bool(result.decisions)
    return [decision.reason for decision in result.decisions]


@pytest.mark.parametrize("target", TARGETS)
def test_a_legal_model_is_left_alone(target: str):
    before = model(
        "g (float[N,3,8,8] x) => (float[N,4,6,6] y) { y = Conv<kernel_shape = [3, 3]>(x, w) }",
        opset=13,
        ir=7,
        w=normal(4, 3, 3, 3),
    )
    assert legalize(before, target, x=normal(1, 3, 8, 8)) == []


def test_kernel_shape_is_written_out():
    before = model(
        "g (float[N,3,8,8] x) => (float[N,4,6,6] y) { y = Conv(x, w) }", opset=13, ir=7, w=normal(4, 3, 3, 3)
    )
    assert legalize(before, x=normal(1, 3, 8, 8)) == ["kernel_shape written out"]
    assert node(before.graph, "Conv").attrs["kernel_shape"] == [3, 3]


CORRELATED = """g (float[1,3,H,W] x) => (float[1,1,A,B] y)
    { c = Conv(x, w) k = MaxPool<kernel_shape = [4, 4]>(c) [xcorr] y = Conv(c, k) }"""


def test_kernel_shape_of_a_computed_weight_is_written_out():
    before = model(CORRELATED.replace("H,W", "8,8"), w=normal(4, 3, 3, 3))
    assert legalize(before, x=normal(1, 3, 8, 8)).count("kernel_shape written out") == 2
    (xcorr,) = [node for node in before.graph.nodes if node.name == "xcorr"]
    assert xcorr.attrs["kernel_shape"] == [3, 3]


def test_kernel_shape_of_an_open_size_is_left_to_the_lint():
    before = model(CORRELATED, w=normal(4, 3, 3, 3))
    Legalize().run(before.graph, Context())
    (finding,) = lint(to_proto(before), TARGETS["xavier"])
    assert (finding.rule, finding.node) == ("conv-kernel-shape", "xcorr")
    assert finding.fix == "fix the sizes of the inputs, or write kernel_shape"


def test_hard_swish_is_decomposed_before_8_4_only():
    text = "g (float[N,4] x) => (float[N,4] y) { y = HardSwish(x) }"
    old, new = model(text), model(text)
    legalize(old, "xavier-8.2", x=normal(2, 4))
    assert [node.op for node in old.graph.nodes] == ["HardSigmoid", "Mul"]
    assert (old.graph.opset, old.graph.ir_version) == (13, 7)
    assert legalize(new, "xavier", x=normal(2, 4)) == []


def test_layer_normalization_is_decomposed_for_8_5():
    before = model("g (float[N,3,8] x) => (float[N,3,8] y) { y = LayerNormalization(x, s) }", s=normal(8))
    legalize(before, x=normal(2, 3, 8))
    assert "LayerNormalization" not in {node.op for node in before.graph.nodes}


def test_a_newer_opset_is_lowered():
    before = model(
        "g (float[N,3,4,4] x) => (float[N,3,1,1] y) <int64[2] a = {2, 3}> { y = ReduceMean(x, a) }", opset=18
    )
    assert legalize(before, x=normal(2, 3, 4, 4))[0] == "opset lowered from 18 to 17"
    assert node(before.graph, "ReduceMean").attrs["axes"] == [2, 3]


def test_what_cannot_be_lowered_is_refused_by_name():
    before = model(
        "g (float[N,4] x) => (float[N,4] y) { i = Cast<to = 7>(x) b = BitwiseNot(i) y = Cast<to = 1>(b) }", opset=18
    )
    with pytest.raises(CompressError, match="BitwiseNot has no form in opset 17") as caught:
        Legalize().run(before.graph, Context(RunOptions(target="xavier")))
    assert "BitwiseNot_1" in caught.value.where


def test_constant_nodes_become_initializers_in_branches_too():
    before = model(
        """g (float[4] x, bool c) => (float[4] y) {
        y = If (c) <then_branch = t () => (float[4] u) { k = Constant<value_float = 2.0>() u = Mul(x, k) },
                    else_branch = e () => (float[4] v) { v = Relu(x) }> }"""
    )
    legalize(before, x=normal(4), c=np.array(True))
    assert "Constant" not in {inner.op for body in before.graph.subgraphs() for inner in body.nodes}


def test_slice_bounds_fit_into_int32():
    before = model(
        f"g (float[N,4] x) => (float[N,3] y) <int64[1] one = {{1}}, int64[1] end = {{{2**63 - 1}}}> "
        "{ y = Slice(x, one, end, one) }"
    )
    assert legalize(before, x=normal(2, 4)) == ["its bounds are cut to INT32"]
    assert node(before.graph, "Slice").inputs[2].values == 2**31 - 1


PAIR = """g (float[N,4] x) => (float[N,4] y) <float s = {0.1}> {
    q = QuantizeLinear(x, s ZERO) y = DequantizeLinear(q, s ZERO) }"""


def test_zero_points_are_written_out_and_signed():
    before = model(PAIR.replace("ZERO", ", z").replace("<float", "<uint8 z = {128}, float"))
    assert len(legalize(before, x=normal(2, 4))) == 2
    for pair in before.graph.nodes:
        assert pair.inputs[2].values.dtype == np.int8
        assert not pair.inputs[2].values.any()


def test_a_zero_point_in_the_middle_of_nowhere_is_for_the_lint():
    before = model(PAIR.replace("ZERO", ", z").replace("<float", "<uint8 z = {7}, float"))
    Legalize().run(before.graph, Context(RunOptions(target="xavier")))
    assert any("zero point" in finding.problem for finding in lint(to_proto(before), TARGETS["xavier"]))


def test_a_missing_zero_point_of_int8_codes_is_written_out():
    before = model(
        "g (float[N,3,4,4] x) => (float[N,2,4,4] y) <float s = {0.1}> { f = DequantizeLinear(w, s) y = Conv(x, f) }",
        w=np.arange(-3, 3, dtype=np.int8).reshape(2, 3, 1, 1),
    )
    legalize(before, x=normal(1, 3, 4, 4))
    assert listing(before.graph)[0].endswith("= QuantizeLinear(w.float, s, DequantizeLinear_0.zero_point)")


@pytest.mark.parametrize(("target", "pairs"), [("xavier", 1), ("trt10", 0), ("ort", 0)])
def test_int8_weights_become_float_where_the_engine_wants_it(target: str, pairs: int):
    before = model(
        """g (float[N,3,4,4] x) => (float[N,2,4,4] y) <float[2] s = {0.1, 0.7}, int8[2] z = {0, 0}> {
        f = DequantizeLinear<axis = 0>(w, s, z) y = Conv(x, f) }""",
        w=np.arange(-64, -58, dtype=np.int8).reshape(2, 3, 1, 1),
    )
    codes = before.graph.tensors()["w"].values
    legalize(before, target, x=normal(1, 3, 4, 4))
    assert [node.op for node in before.graph.nodes].count("QuantizeLinear") == pairs
    if pairs:
        quantizer = node(before.graph, "QuantizeLinear")
        stored, scale = quantizer.inputs[0].values, quantizer.inputs[1].values.reshape(2, 1, 1, 1)
        np.testing.assert_array_equal(np.rint(stored / scale), codes)


def test_every_code_survives_requantization():
    codes = np.arange(-128, 128, dtype=np.int8)
    for scale in np.random.default_rng(0).lognormal(-5, 3, 2000).astype(np.float32):
        np.testing.assert_array_equal(np.rint(codes.astype(np.float32) * scale / scale), codes)


def test_outputs_that_nothing_reads_are_removed():
    before = model(
        "g (float[N,2,4,4] x) => (float[N,2,2,2] y) { y, i = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x) }"
    )
    assert legalize(before, x=normal(1, 2, 4, 4)) == ["outputs that nothing reads removed"]


def test_names_lose_what_command_lines_read():
    before = model("g (float[N,4] x) => (float[N,4] y) { a = Relu(x) y = Neg(a) }")
    before.graph.nodes[0].name, before.graph.nodes[1].name = "a:0,b*", "a_0_b_"
    ctx = Context(RunOptions(target="xavier"))
    Legalize().run(before.graph, ctx)
    assert [node.name for node in before.graph.nodes] == ["a_0_b__1", "a_0_b_"]
    assert ctx.origins == {"a_0_b__1": "a:0,b*"}


def test_local_functions_are_inlined_at_the_door():
    text = """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
    g (float[N,4] x) => (float[N,4] y) { y = own.twice(x) }
    <domain: "own", opset_import: ["" : 17]> twice (a) => (b) { b = Add(a, a) }"""
    before = from_proto(onnx.parser.parse_model(text))
    assert legalize(before, x=normal(2, 4)) == []
    assert [node.op for node in before.graph.nodes] == ["Add"]


def test_a_producer_that_the_parser_takes_for_itself_goes_at_the_door():
    before = proto("g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }")
    before.producer_name = "TensorRT"
    assert any("producer" in finding.problem for finding in lint(before, TARGETS["xavier"]))
    assert legalize(from_proto(before), x=normal(2, 4)) == []


QUANTIZED_GEMM = """g (float[N,8] x) => (float[N,4] y) {
    a = QuantizeLinear(x, s, z)  b = DequantizeLinear(a, s, z)
    c = DequantizeLinear<axis=AXIS>(w, t, o)  y = Gemm<transB=TRANS>(b, c, d)
}"""


def quantized_gemm(transposed: bool, rows: bool = True, shift: float = 0.0) -> Model:
    """With a bias in whole steps, but for `shift` of one."""
    scale = np.float32([0.5, 0.25, 0.125, 1.0]) if rows else np.float32(0.25)
    weight = np.arange(32, dtype=np.int8).reshape(4, 8) - 16
    return model(
        QUANTIZED_GEMM.replace("AXIS", str(int(not transposed))).replace("TRANS", str(int(transposed))),
        opset=17,
        s=np.float32(0.1),
        z=np.uint8(100),
        w=weight if transposed else np.ascontiguousarray(weight.T),
        t=scale,
        o=np.zeros(scale.shape, np.int8),
        d=((np.float32([3, -70000, 0, 12]) + np.float32(shift)) * (np.float32(0.1) * scale)).astype(np.float32),
    )


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_a_bias_behind_which_nothing_is_rounded_is_stored_in_int32_for_onnxruntime(transposed: bool, rows: bool):
    before = quantized_gemm(transposed, rows)
    assert legalize(before, "ort", x=normal(5, 8)) == ["bias stored in INT32"]
    codes, *_ = node(before.graph, "Gemm").inputs[2].inputs[0].inputs
    assert codes.values.dtype == np.int32 and codes.values.tolist() == [3, -70000, 0, 12]


def test_a_bias_between_the_steps_stays():
    assert legalize(quantized_gemm(True, shift=0.5), "ort", x=normal(5, 8)) == []


def test_a_gemm_whose_results_are_rounded_stays():
    before = quantized_gemm(True)
    text = QUANTIZED_GEMM.replace("y = Gemm", "e = Gemm").replace(
        "}", " f = QuantizeLinear(e, s, z) y = DequantizeLinear(f, s, z) }"
    )
    text = text.replace("AXIS", "0").replace("TRANS", "1")
    values = {name: tensor.values for name, tensor in before.graph.tensors().items() if hasattr(tensor, "values")}
    assert legalize(model(text, opset=17, **values), "ort", x=normal(5, 8)) == []
