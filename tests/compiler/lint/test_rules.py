"""Every rule: a model that breaks it, and one that does not."""

from __future__ import annotations

from pathlib import Path

import lint_cases
import numpy as np
import onnx
import pytest
from lint_cases import QUANTIZED, Case, case, net, weight
from onnx import helper
from onnx_compress.compiler.lint import RULES, lint
from onnx_compress.compiler.targets import find_target

PLAIN = "y = Relu(x)"
SQUARE = "float[4,4] x"


def header(rule: str, target: str = "xavier", **fields: object) -> Case:
    """`bad` is a plain model with other fields in its header."""
    bad = net(PLAIN)
    for name, value in fields.items():
        setattr(bad, name, value)
    return Case(rule, bad, net(PLAIN), target)


def opset(rule: str, bad: int, good: int, target: str = "xavier") -> Case:
    return Case(rule, net(PLAIN, opset=bad), net(PLAIN, opset=good), target)


def external(key: str, value: str) -> onnx.ModelProto:
    model = net("y = Add(x, b)")
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key=key, value=value)
    return model


def function() -> onnx.ModelProto:
    model = net("y = local.Twice(x)", domains=', "local" : 1')
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    imports = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("local", "Twice", ["a"], ["b"], body, imports))
    return model


def named(first: str, second: str) -> onnx.ModelProto:
    model = net("t = Relu(x) y = Relu(t)")
    model.graph.node[0].name, model.graph.node[1].name = first, second
    return model


def branches(one: str, other: str, size: int = 2) -> onnx.ModelProto:
    graph = f"""y = If(c) <
        then_branch = t () => (float[2] {one}) {{ {one} = Constant<value = float[2] {{1, 2}}>() }},
        else_branch = e () => (float[{size}] {other}) {{ {other} = Constant<value = float[{size}] {{1, 2}}>() }}>"""
    return net(graph, "bool c")


def loop(carried: str, stacked: str, count: str) -> onnx.ModelProto:
    """A Loop over `x` of 4 numbers whose body returns `carried`, and `stacked` behind it."""
    outputs, results = ("y, z", ", float[4] s") if stacked else ("y", "")
    body = f"t = Identity(c) a = {carried} {stacked}"
    graph = f"""{outputs} = Loop({count}, yes, x) <
        body = b (int64 i, bool c, float[4] v) => (bool t, float a{results}) {{ {body} }}>"""
    return net(graph, "float[4] x, int64 n", k=np.asarray(3))


MODEL = (
    opset("opset-new", 18, 17),
    opset("opset-new", 14, 13, "xavier-8.2"),
    opset("opset-old", 6, 7),
    opset("opset-old", 8, 9, "trt10"),
    Case(
        "broadcast-old", net("y = Add<broadcast=1, axis=1>(x, b)", opset=6), net("y = Add<broadcast=1>(x, b)", opset=6)
    ),
    header("ir-refused", "ort", ir_version=99),
    header("ir-new", ir_version=9),
    header("producer-name", producer_name="TensorRT"),
    Case("local-function", function(), net(PLAIN)),
    Case("external-key", external("basepath", "a"), external("location", "a")),
    Case("external-missing", external("location", "no-such-file"), net(PLAIN)),
    Case("external-missing", external("location", "../x"), net(PLAIN), "ort"),
    Case("input-cast", net("y = Cast<to=1>(n)", "int64[2] n"), net("y = Cast<to=1>(n)", "int32[2] n")),
    Case("dla-dynamic", net(PLAIN, "float[N,4] x"), net(PLAIN, SQUARE), "xavier-dla"),
    Case("name-unique", named("a", "a"), named("a", "")),
    Case("name-characters", named("a:0", "b"), named("a/0", "b")),
)
OPERATORS = (
    case("operator-missing", "y = Compress(x, c)", PLAIN, f"{lint_cases.IMAGE}, bool[4] c"),
    case("operator-missing", "y = HardSwish(x)", PLAIN, target="xavier-8.2"),
    case("operator-missing", "y = my.Thing(x)", "y = my.EfficientNMS_TRT(x)", domains=', "my" : 1'),
    case("operator-domain", "y = my.Relu(x)", "y = my.EfficientNMS_TRT(x)", domains=', "my" : 1'),
    Case("operator-type", net(PLAIN, "int32[2,2] x"), net("y = Abs(x)", "int64[2,2] x")),
    Case("operator-type", net("y = MatMul(x, x)", "int64[2,2] x"), net("y = Add(x, x)", "int64[2,2] x"), "trt10"),
    case("uint8", "y = Relu(u)", "y = Cast<to=1>(u)", "uint8[4] u"),
    case("uint8", "y = Cast<to=1>(u)", "y = Relu(x)", "uint8[4] u", "xavier-8.2"),
    case("cast-type", "y = Cast<to=16>(x)", "y = Cast<to=11>(x)"),
    case("cast-type", "y = Cast<to=2>(n)", "f = Cast<to=1>(n) y = Cast<to=2>(f)", "int32[2] n"),
    case("output-count", "y, m, s, t = GRU(x, b, b)", "y = GRU(x, b, b)"),
    case("data-dependent", "y = NonZero(x)", PLAIN),
)
PARAMETERS = (
    case("constant-parameter", "y = Slice(x, axis, k, i)", "y = Slice(x, i, k, axis)", "float[4] x, int64[1] i"),
    case("constant-parameter", "y = Squeeze(x, i)", "y = Squeeze(x, axis)", "float[1,1] x, int64[1] i"),
    case("constant-parameter", "y = Unsqueeze(x, i)", "y = Unsqueeze(x, axis)", "float[1,1] x, int64[1] i"),
    case("constant-parameter", "y, i = TopK(x, n)", "y, i = TopK(x, k)", "float[4] x, int64[1] n"),
    case("constant-parameter", "y = OneHot(i, n, v)", "y = OneHot(i, k, v)", "int64[4] i, int64[1] n, float[2] v"),
    case("constant-parameter", "y = CumSum(x, n)", "y = CumSum(x, axis)", "float[4] x, int64[1] n"),
    case("constant-parameter", "y = ReduceSum(x, n)", "y = ReduceSum(x, axis)", "float[4] x, int64[1] n"),
    case("constant-parameter", "y = Clip(x, n)", "y = Clip(x, one)", "float[4] x, float n", "xavier-8.0"),
    case("constant-parameter", "y, z = Split(x, n)", "y, z = Split(x, k)", "float[4] x, int64[2] n", "xavier-8.0"),
    case("constant-parameter", "y = Pad(x, n)", "y = Pad(x, pads)", "float[1,4,8,8] x, int64[8] n", "xavier-8.0"),
    case(
        "constant-parameter",
        "y = Resize(x, , n)",
        "y = Resize(x, , double)",
        "float[1,4,8,8] x, float[4] n",
        "xavier-8.0",
    ),
    case(
        "constant-parameter", "y = Upsample(x, n)", "y = Upsample(x, double)", "float[1,4,8,8] x, float[4] n", opset=9
    ),
    case(
        "constant-parameter",
        "y = ReduceMean(x, n)",
        "y = ReduceMean(x, axis)",
        "float[4] x, int64[1] n",
        "trt10",
        opset=18,
    ),
    case("reduce-axes", "y = ReduceMean(x, axes)", "y = ReduceMean<axes=[2,3]>(x)"),
    case("pad-axes", "y = Pad(x, pads, one, axes)", "y = Pad(x, pads, one)"),
    case("attribute-unread", "y, z = Split<num_outputs=2>(x)", "y, z = Split(x)"),
    case("attribute-unread", "y = Resize<antialias=1>(x, , double)", "y = Resize<antialias=0>(x, , double)"),
    case("pad-mode", 'y = Pad<mode="wrap">(x, pads)', 'y = Pad<mode="reflect">(x, pads)'),
    case("pad-mode", 'y = Pad<mode="bounce">(x, pads)', 'y = Pad<mode="wrap">(x, pads)', target="trt10"),
    case("pad-two", 'y = Pad<mode="edge">(x, pads)', "y = Pad(x, pads)", target="xavier-8.0"),
    case("pad-two", "y = Pad(x, pads3)", "y = Pad(x, pads, zero)", target="xavier-8.0"),
    case("pad-two", "y = Pad(x, pads, one)", "y = Pad(x, pads)", target="xavier-8.0"),
    case("clip-layers", "y = Clip(x, n)", "y = Clip(x, one)", "float[4] x, float n"),
    Case("clip-layers", net("y = Clip(x)", "int32[4] x"), net("y = Clip(x)")),
    case(
        "constant-integer", "c = Constant<value_int=3>() y = Add(x, b)", "c = Constant<value_float=3.0>() y = Add(x, b)"
    ),
    case("constant-integer", "c = Constant<value_ints=[3]>() y = Add(x, b)", "y = Add(x, b)"),
    case("constant-kind", 'c = Constant<value_string="a">() y = Add(x, b)', "y = Add(x, b)"),
)
LAYERS = (
    Case(
        "conv-kernel-shape",
        net(weight("Conv")),
        net(weight("Conv").replace("Conv(", "Conv<kernel_shape=[3,3]>(")),
    ),
    case("conv-kernel-shape", "v = Identity(w) y = Conv(x, v)", "y = Conv(x, w)"),
    Case("conv-rank", net("y = Conv(x, m)", "float[1,4] x, float[4,4] m"), net("y = Conv(x, w)")),
    case("conv-bias", "c = Relu(b) y = Conv(x, w, c)", "y = Conv(x, w, b)"),
    case("conv-bias", "y = Conv(x, w, b2)", "y = Conv(x, w, b)"),
    case("conv-bias", "y = ConvTranspose(x, w, none3)", "y = ConvTranspose(x, w, b)"),
    Case("conv-channels", net("y = Conv(x, half)"), net("y = Conv<group=2>(x, half)")),
    case("auto-pad", 'y = Conv<auto_pad="SAME_UPPER", pads=[1,1,1,1]>(x, w)', 'y = Conv<auto_pad="SAME_UPPER">(x, w)'),
    case("deconv-pads", "y = ConvTranspose<pads=[-1,0,0,0]>(x, w)", "y = ConvTranspose<pads=[0,0,-1,0]>(x, w)"),
    case("deconv-pads", "y = ConvTranspose<pads=[0,0,-1,0]>(x, w)", "y = ConvTranspose(x, w)", target="trt10"),
    case("conv-bias", "y = Conv(x, w, b2)", "c = Relu(b) y = Conv(x, w, c)", target="trt10"),
    case("operator-type", "y = Relu(u)", "y = Cast<to=1>(u)", "uint8[4] u", "trt10"),
    Case("gemm-rank", net("y = Gemm(x, matrix)", "float[1,4,4] x"), net("y = Gemm(x, matrix)", SQUARE)),
    case(
        "pool-rank",
        "y = MaxPool<kernel_shape=[2,2,2,2]>(x)",
        "y = MaxPool<kernel_shape=[2]>(x)",
        "float[1,4,8] x",
    ),
    case(
        "pool-dilations",
        "y = MaxPool<kernel_shape=[2,2], dilations=[2,2]>(x)",
        "y = MaxPool<kernel_shape=[2,2], dilations=[1,1]>(x)",
    ),
    case("pool-indices", "y, i = MaxPool<kernel_shape=[2,2]>(x)", "y = MaxPool<kernel_shape=[2,2]>(x)"),
    case(
        "batchnorm-training",
        "y = BatchNormalization<training_mode=1>(x, b, b, b, b)",
        "y = BatchNormalization<training_mode=0>(x, b, b, b, b)",
    ),
    case("batchnorm-rank", "y = BatchNormalization(x, b2, b, b, b)", "y = BatchNormalization(x, b, b, b, b)"),
    case(
        "batchnorm-computed",
        "c = Relu(b) y = BatchNormalization(x, c, b, b, b)",
        "y = BatchNormalization(x, b, b, b, b)",
    ),
    case(
        "batchnorm-unfolded",
        "t = Conv(x, w) y = BatchNormalization(t, b, b, b, b)",
        "y = BatchNormalization(x, b, b, b, b)",
    ),
    case("instance-norm", "c = Relu(b) y = InstanceNormalization(x, c, b)", "y = InstanceNormalization(x, b, b)"),
    Case(
        "instance-norm-rank",
        net("y = InstanceNormalization(x, b, b)", "float[1,4] x"),
        net("y = InstanceNormalization(x, b, b)", "float[1,4,8] x"),
    ),
    case("dropout-training", "y = Dropout(x, one, yes)", "y = Dropout(x, one, no)"),
)
GEOMETRY = (
    case(
        "resize-mode",
        'y = Resize<coordinate_transformation_mode="tf_crop_and_resize">(x, , double)',
        "y = Resize(x, , double)",
    ),
    case("resize-mode", 'y = Resize<nearest_mode="simple">(x, , double)', "y = Resize(x, , double)", target="trt10"),
    case(
        "resize-mode",
        'y = Resize<mode="cubic">(x, , double)',
        'y = Resize<mode="linear">(x, , double)',
        target="xavier-8.2",
        opset=13,
    ),
    case("resize-axes", 'y = Resize<mode="cubic">(x, , channels)', 'y = Resize<mode="cubic">(x, , double)'),
    case(
        "resize-rounding",
        'y = Resize<coordinate_transformation_mode="tf_half_pixel_for_nn", nearest_mode="ceil">(x, , double)',
        'y = Resize<coordinate_transformation_mode="tf_half_pixel_for_nn">(x, , double)',
    ),
    case("resize-computed", "y = Resize(x, , n)", "y = Resize(x, , double)", "float[1,4,8,8] x, float[4] n"),
    case("resize-policy", "y = Resize<antialias=1>(x, , double)", "y = Resize(x, , double)", target="trt10"),
    case(
        "resize-policy",
        'y = Resize<keep_aspect_ratio_policy="not_larger">(x, , double)',
        "y = Resize(x, , double)",
        target="trt10",
    ),
    Case(
        "space-rank", net("y = DepthToSpace<blocksize=2>(x)", "float[4,8,8] x"), net("y = DepthToSpace<blocksize=2>(x)")
    ),
    Case("trilu-rank", net("y = Trilu(x)"), net("y = Trilu(x)", SQUARE)),
    case("grid-sample", "y = GridSample(x, b)", "y = GridSample(x, w)"),
    Case("grid-sample", net("y = GridSample(x, x)", SQUARE), net("y = GridSample(x, w)"), "trt10"),
    Case("eye-like", net("y = EyeLike(x)", "float[N,4] x"), net("y = EyeLike(x)", SQUARE)),
    Case("eye-like", net("y = EyeLike(x)"), net("y = EyeLike(x)", SQUARE), "trt10"),
    Case(
        "reverse-sequence", net("y = ReverseSequence(x, k)", "float[N,4] x"), net("y = ReverseSequence(x, k)", SQUARE)
    ),
    Case("hardmax", net("y = Hardmax(x)", "float[4,N] x"), net("y = Hardmax(x)", "float[N,4] x"), "trt10"),
    case("einsum", 'y = Einsum<equation="...ij,jk->...ik">(x, x)', 'y = Einsum<equation="ij,jk->ik">(x, x)', SQUARE),
    case("einsum", 'y = Einsum<equation="ii->i">(x)', 'y = Einsum<equation="ij -> ji">(x)', SQUARE),
    case("einsum-letters", 'y = Einsum<equation="Ij->jI">(x)', 'y = Einsum<equation="ij->ji">(x)', SQUARE),
    case("einsum", 'y = Einsum<equation="ij,ij->ij">(x, b2)', 'y = Einsum<equation="ij,ij->ij">(x, matrix)', SQUARE),
    Case("if-outputs", branches("a", "a"), branches("a", "b")),
    Case("if-outputs", branches("a", "b", 3), branches("a", "b", 1), "trt10"),
)
SEQUENCES = (
    case(
        "recurrent-activations",
        'y = RNN<hidden_size=4, direction="bidirectional", activations=["Tanh", "Relu"]>(x, x, x)',
        'y = RNN<hidden_size=4, direction="bidirectional", activations=["Tanh", "Tanh"]>(x, x, x)',
        "float[2,4,4] x",
    ),
    case("lstm-form", "y = LSTM<layout=1>(x, x, x)", "y = LSTM<layout=0>(x, x, x)", "float[1,16,4] x", "trt10"),
    Case("loop-static", loop("Concat<axis=0>(v, v)", "", "k"), loop("Relu(v)", "", "k"), "trt10"),
    Case("loop-static", loop("Relu(v)", "s = Relu(v)", "n"), loop("Relu(v)", "s = Relu(v)", "k"), "trt10"),
    case("attention", "y = Attention<softcap=2.0>(x, x, x)", "y = Attention(x, x, x)", target="trt10", opset=23),
    case("attention", "y = Attention(x, x, x, , x, x)", "y = Attention(x, x, x)", target="trt10", opset=23),
    Case("attention", net("y = Attention(x, x, x)", SQUARE, 23), net("y = Attention(x, x, x)", opset=23), "trt10"),
    case(
        "rotary-positions",
        "y = RotaryEmbedding(x, x, x, bias32)",
        "y = RotaryEmbedding(x, x, x, k)",
        target="trt10",
        opset=23,
    ),
    case("tensor-scatter", "y = TensorScatter<axis=1>(x, x)", "y = TensorScatter(x, x)", target="trt10", opset=24),
    case("scatter-reduction", 'y = ScatterND<reduction="add">(x, k, b)', "y = ScatterND(x, k, b)", target="trt10"),
    case("topk-unsorted", "y, i = TopK<sorted=0>(x, k)", "y, i = TopK(x, k)", target="trt10"),
    case("topk-count", "y, i = TopK(x, many)", "y, i = TopK(x, k)", target="trt10"),
    case("stft", "y = STFT(x, n)", "y = STFT(x, k)", "float[1,64,1] x, int64 n", "trt10"),
    Case("stft", net("y = STFT(x, k)", "float[1,64,2] x"), net("y = STFT(x, k)", "float[1,64,1] x"), "trt10"),
    case(
        "deform-conv",
        "y = DeformConv<pads=[1,0,0,0]>(x, w, x)",
        "y = DeformConv<pads=[1,0,1,0]>(x, w, x)",
        target="trt10",
        opset=19,
    ),
    case("random", "y = Bernoulli(x)", PLAIN, target="ort"),
    case("random-seed", "y = RandomUniform<shape=[2], seed=1.0>()", "y = RandomUniform<shape=[2]>()"),
)
QUANTIZERS = (
    case("qdq-refused", f"{QUANTIZED} y = Relu(d)", PLAIN, target="xavier-dla"),
    case("qdq-inputs", "q = QuantizeLinear(x, one) y = DequantizeLinear(q, one)", f"{QUANTIZED} y = Relu(d)"),
    case("qdq-uint8", "y = QuantizeLinear(x, one, unsigned)", "y = QuantizeLinear(x, one, none)"),
    case("qdq-zero-point", "y = QuantizeLinear(x, one, three)", "y = QuantizeLinear(x, one, none)", target="trt10"),
    *(
        case("qdq-scale", f"y = QuantizeLinear(x, {scale}, none)", "y = QuantizeLinear(x, one, none)", target=target)
        for scale, target in (("zero", "xavier"), ("tiny", "trt10"), ("nan", "ort"), ("minus", "xavier-8.0"))
    ),
    case("qdq-scale-constant", "s = Abs(one) y = QuantizeLinear(x, s, none)", "y = QuantizeLinear(x, one, none)"),
    case("qdq-size", "y = QuantizeLinear<axis=0>(w, scales, none3)", "y = QuantizeLinear<axis=0>(w, scales, none4)"),
    case(
        "qdq-size",
        "y = QuantizeLinear<axis=0>(w, scales3, none3)",
        "y = QuantizeLinear<axis=0>(w, scales, none4)",
        target="trt10",
    ),
    case("qdq-axis", "y = QuantizeLinear(w, scales, none4)", "y = QuantizeLinear<axis=0>(w, scales, none4)"),
    case(
        "qdq-per-channel",
        "y = QuantizeLinear<axis=1>(x, scales, none4)",
        "y = QuantizeLinear<axis=1>(w, scales, none4)",
    ),
    case(
        "int8-weights",
        "y = DequantizeLinear(ints, one, none)",
        "q = QuantizeLinear(w, one, none) y = DequantizeLinear(q, one, none)",
    ),
    case("dq-type", "y = DequantizeLinear(bias32, one)", "y = DequantizeLinear(ints, one)", target="trt10"),
    case("integer-operator", "y = ConvInteger(ints, ints)", PLAIN),
    Case("weight-axis", net(weight("Conv", axis=1)), net(weight("Conv"))),
    Case(
        "weight-axis",
        net(weight("Gemm<transB=1>", "matrix", 1), SQUARE),
        net(weight("Gemm", "matrix", 1), SQUARE),
    ),
    Case("deconv-axis", net(weight("ConvTranspose", axis=1)), net(weight("ConvTranspose"))),
    Case("deconv-groups", net(weight("ConvTranspose<group=2>")), net(weight("ConvTranspose"))),
    Case("conv-groups", net(weight("Conv<group=2>", "half")), net(weight("Conv"))),
    case("half-quantized", f"{QUANTIZED} y = Conv(d, w)", "y = Conv(x, w)"),
)
CASES = (*MODEL, *OPERATORS, *PARAMETERS, *LAYERS, *GEOMETRY, *SEQUENCES, *QUANTIZERS)


def broken(model: onnx.ModelProto, target: str, folder: Path) -> set[str]:
    return {finding.rule for finding in lint(model, find_target(target), folder)}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rule_finds_what_breaks_it_and_nothing_else(case: Case, tmp_path: Path):
    assert case.rule in broken(case.bad, case.target, tmp_path)
    assert case.rule not in broken(case.good, case.target, tmp_path)


def test_every_rule_has_a_case():
    assert {case.rule for case in CASES} == {rule.name for rule in RULES}


def test_rules_have_names_of_their_own_and_say_where_they_come_from():
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.summary.endswith(".") and rule.source for rule in RULES)
