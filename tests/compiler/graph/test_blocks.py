"""Blocks: what can go whole, what cannot and why; without one, the network is that in which its branch is zero."""

from __future__ import annotations

from random import Random

import builders
import numpy as np
import onnx_graphsurgeon as gs
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from networks import BATCH, network
from onnx_compress.compiler.graph.blocks import Block, find_blocks, remove_block
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.io import Model, from_proto
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.graph.shapes import infer_shapes

SQUARE = builders.normal(4, 4, 3, 3)
POINT = builders.normal(4, 4, 1, 1)


def network_of(body: str, result: str = "float[N,4,1,1] y", **weights: np.ndarray) -> Model:
    return builders.model(f"g (float[N,4,8,8] x) => ({result}) {{ {body} }}", **{"w": SQUARE, "v": POINT, **weights})


def blocks_of(model: Model) -> dict[str, Block]:
    return {block.exit.name: block for block in find_blocks(model.graph, infer_shapes(model.graph)).found}


def why_not(model: Model, result: str) -> str:
    node = next(node for node in model.graph.nodes if node.outputs[0].name == result)
    return find_blocks(model.graph, infer_shapes(model.graph)).refused[node.name]


def without(model: Model, result: str) -> Model:
    """The block that ends at `result` taken out."""
    rewriter = Rewriter(model.graph)
    identity = remove_block(rewriter, blocks_of(model)[result])
    if rewriter.can_bypass(identity):
        rewriter.bypass(identity)
    check_graph(model)
    return model


STEM = "a = Conv<pads=[1,1,1,1]>(x, w) r = Relu(a)"
HALF = f"{STEM} b = Conv<strides=[2,2]>(r, v) c = Conv<strides=[2,2]>(r, v)"
CONV = "Conv<pads=[1,1,1,1]>"


def test_a_residual_block_goes_with_the_relu_behind_it() -> None:
    model = network_of(
        f"{STEM} b = {CONV}(r, w) c = Relu(b) d = {CONV}(c, w) s = Add(r, d) t = Relu(s) y = GlobalAveragePool(t)"
    )
    block = blocks_of(model)["t"]
    assert (block.entry.name, block.before.name, len(block.layers)) == ("r", "s", 2)
    assert [node.op for node in block.nodes] == ["Conv", "Relu", "Conv", "Add", "Relu"]
    assert builders.listing(without(model, "t").graph) == ["a = Conv(x, w)", "r = Relu(a)", "y = GlobalAveragePool(r)"]


def test_the_relu_behind_it_stays_where_the_entry_may_be_negative() -> None:
    model = network_of(f"a = {CONV}(x, w) d = {CONV}(a, w) s = Add(a, d) t = Relu(s) y = GlobalAveragePool(t)")
    assert list(blocks_of(model)) == ["s"]
    assert builders.listing(without(model, "s").graph) == ["a = Conv(x, w)", "t = Relu(a)", "y = GlobalAveragePool(t)"]


@pytest.mark.parametrize(
    "branch",
    [
        "c = Conv(r, v) p = GlobalAveragePool(c) q = Conv(p, v) z = Sigmoid(q) d = Mul(c, z)",
        "c = Conv(r, v) d = Mul(g, c)",
        "c = Conv<group=4>(r, u) e = Identity(c) d = Dropout(e)",
        "c = Conv(r, v) e = Add(r, c) f = Conv(e, v) d = Mul(f, g)",
    ],
    ids=["squeeze-and-excite", "layer scale", "depthwise, dropout", "nested"],
)
def test_whatever_is_in_the_branch(branch: str) -> None:
    model = network_of(
        f"{STEM} {branch} s = Add(d, r) y = GlobalAveragePool(s)",
        g=builders.normal(4, 1, 1),
        u=builders.normal(4, 1, 1, 1),
    )
    assert blocks_of(model)["s"].entry.name == "r"


def test_the_gate_of_a_squeeze_and_excite_is_a_block() -> None:
    model = network_of(
        f"{STEM} p = GlobalAveragePool(r) q = Conv(p, v) z = Sigmoid(q) d = Mul(r, z) y = GlobalAveragePool(d)"
    )
    assert blocks_of(model)["d"].entry.name == "r"


def test_layers_among_equal_ones_with_their_activations() -> None:
    body = f"{STEM} b = {CONV}(r, w) c = Relu(b) d = {CONV}(c, w) e = Sigmoid(d) y = GlobalAveragePool(e)"
    assert {name: block.entry.name for name, block in blocks_of(network_of(body)).items()} == {"c": "r"}


def test_a_gated_activation_is_one_of_its_own() -> None:
    silu = "p = Sigmoid(a) r = Mul(a, p) b = Conv(r, v) q = Sigmoid(b) s = Mul(b, q) y = GlobalAveragePool(s)"
    model = network_of(f"a = {CONV}(x, w) {silu}")
    assert {name: block.entry.name for name, block in blocks_of(model).items()} == {"s": "r"}


def test_a_branch_without_its_sum_is_no_block() -> None:
    """The entry would be added to itself."""
    model = network_of(
        f"a = {CONV}(x, w) b = Conv(a, v) c = Sigmoid(b) d = Conv(c, v) s = Add(a, d) y = GlobalAveragePool(s)"
    )
    assert "s" in blocks_of(model) and "d" not in blocks_of(model)


def test_a_whole_csp_stage() -> None:
    body = f"{STEM} b = Conv(r, h) c = Relu(b) e = Conv(r, h) f = Relu(e) g = Conv(c, k) i = Relu(g) j = Add(i, c) "
    body += "l = Concat<axis=1>(j, f) m = Conv(l, v) n = Relu(m) y = GlobalAveragePool(n)"
    model = network_of(body, h=builders.normal(2, 4, 1, 1), k=builders.normal(2, 2, 1, 1))
    found = blocks_of(model)
    assert found["n"].entry.name == "r" and len(found["n"].layers) == 4
    assert found["j"].entry.name == "c"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            f"{HALF} s = Add(b, c) y = GlobalAveragePool(s)",
            "its branches begin at 'r' (1, 4, 8, 8) and end in another shape, (1, 4, 4, 4)",
        ),
        (f"{STEM} b = Conv(r, v) s = Add(b, r) t = Sub(s, b) y = GlobalAveragePool(t)", "'b' inside is read by Sub '"),
        ("b = Conv(x, v) s = Add(b, x) y = GlobalAveragePool(s)", "it begins at 'x', an input of the model"),
    ],
)
def test_what_cannot_go_says_why(body: str, reason: str) -> None:
    assert why_not(network_of(body), "s").startswith(reason)


def test_a_block_with_an_output_of_the_model_inside_stays() -> None:
    model = network_of(
        f"{STEM} b = Conv(r, v) s = Add(b, r) y = GlobalAveragePool(s)", "float[N,4,1,1] y, float[N,4,8,8] b"
    )
    assert why_not(model, "s") == "'b' inside is an output of the model"


def test_quantized_activations_keep_their_blocks() -> None:
    pair = "q = QuantizeLinear(r, k, z) p = DequantizeLinear(q, k, z)"
    body = f"{STEM} {pair} b = Conv(p, v) s = Add(b, p) y = GlobalAveragePool(s)"
    model = network_of(body, k=np.float32(0.1), z=np.int8(0))
    assert why_not(model, "s") == "its activations are quantized: remove blocks before quantize"


def test_quantized_weights_do_not() -> None:
    body = f"{STEM} d = DequantizeLinear(c, k, z) b = Conv(r, d) s = Add(b, r) y = GlobalAveragePool(s)"
    model = network_of(body, c=np.ones((4, 4, 1, 1), np.int8), k=np.float32(0.1), z=np.int8(0))
    assert list(blocks_of(model)) == ["s"]


def test_branches_that_begin_at_several_inputs_stay() -> None:
    model = builders.model(
        "g (float[N,4,8,8] x, float[N,4,8,8] z) => (float[N,4,8,8] y) { a = Conv(x, v) s = Add(a, z) y = Relu(s) }",
        v=POINT,
    )
    assert why_not(model, "s") == "its branches begin at several inputs of the model"


def test_a_sum_that_is_an_output_of_the_model_keeps_its_name() -> None:
    model = network_of(f"{STEM} b = Conv(r, v) y = Add(b, r)", "float[N,4,8,8] y")
    assert builders.listing(without(model, "y").graph) == ["a = Conv(x, w)", "y = Relu(a)"]


def test_an_entry_that_is_an_output_too_keeps_its_name() -> None:
    model = network_of(f"{STEM} b = Conv(r, v) y = Add(b, r)", "float[N,4,8,8] y, float[N,4,8,8] r")
    assert builders.listing(without(model, "y").graph) == ["a = Conv(x, w)", "r = Relu(a)", "y = Identity(r)"]


@pytest.mark.parametrize("spatial", [(8,), (4, 4, 4)])
def test_one_and_three_dimensions(spatial: tuple[int, ...]) -> None:
    shape = ",".join(map(str, (4, *spatial)))
    model = builders.model(
        f"g (float[N,{shape}] x) => (float[N,{shape}] y) {{ a = Conv(x, v) b = Conv(a, v) y = Add(a, b) }}",
        v=builders.normal(4, 4, *(1 for _ in spatial)),
    )
    assert blocks_of(model)["y"].entry.name == "a"


def masked(model: Model, block: Block) -> Model:
    """y = 0 f(x) in the place of y = f(x); what the block adds to is left."""
    graph = model.graph
    block = block.within(graph)
    reads = [node for node in graph.nodes if any(tensor is block.exit for tensor in node.inputs)]
    name = block.exit.name
    zero = gs.Constant("zero", np.zeros((), block.exit.dtype or np.float32))
    empty, result = gs.Variable("empty", block.exit.dtype), gs.Variable("masked", block.exit.dtype)
    if any(block.exit is output for output in graph.outputs):
        graph.outputs = [result if output is block.exit else output for output in graph.outputs]
        block.exit.name, result.name, result.shape = "unmasked", name, block.exit.shape
    for node in reads:
        node.inputs = [result if tensor is block.exit else tensor for tensor in node.inputs]
    last = max(index for index, node in enumerate(graph.nodes) if block.exit in node.outputs)
    graph.nodes[last + 1 : last + 1] = [
        gs.Node("Mul", "mask", inputs=[block.exit, zero], outputs=[empty]),
        gs.Node("Add", "back", inputs=[empty, block.entry], outputs=[result]),
    ]
    return model


@settings(max_examples=max(100, settings.default.max_examples), suppress_health_check=list(HealthCheck), deadline=None)
@given(st.randoms(use_true_random=False))
def test_removed_equals_masked(random: Random) -> None:
    proto = network(random)
    shape = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim][1:]
    values = np.random.default_rng(0).standard_normal((BATCH, *shape)).astype(np.float32)
    for name, block in blocks_of(from_proto(proto)).items():
        event("joined" if len(block.chain) > 1 else "not joined")
        small = builders.run(without(from_proto(proto), name), x=values)
        for output, wanted in builders.run(masked(from_proto(proto), block), x=values).items():
            np.testing.assert_allclose(small[output], wanted, rtol=0, atol=1e-5 * max(1, float(np.abs(wanted).max())))
