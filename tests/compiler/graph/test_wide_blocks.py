"""Pairs of residual blocks: which of them can be one, and that the wide block is the sum of both branches."""

from __future__ import annotations

from collections.abc import Mapping

import builders
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress.compiler.graph.block_pairs import BlockPair, find_pairs
from onnx_compress.compiler.graph.blocks import find_blocks
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.compiler.graph.wide_blocks import merge_pair, put_beside
from onnx_compress.runtime.session import graph_session

FORMS = {
    "basic": (
        """b{i} = Conv<pads=[1,1,1,1]>({x}, u0_{i}, c0_{i}) c{i} = Relu(b{i})
        d{i} = Conv<pads=[1,1,1,1]>(c{i}, u1_{i}, c1_{i}) s{i} = Add({x}, d{i}) x{i} = Relu(s{i})""",
        {"u0": (6, 4, 3, 3), "c0": (6,), "u1": (4, 6, 3, 3), "c1": (4,)},
    ),
    "inverted": (
        """b{i} = Conv({x}, u0_{i}, c0_{i}) c{i} = Clip(b{i}, zero, six)
        e{i} = Conv<pads=[1,1,1,1], group=6>(c{i}, u1_{i}) f{i} = Clip(e{i}, zero, six)
        d{i} = Conv(f{i}, u2_{i}) x{i} = Add(d{i}, {x})""",
        {"u0": (6, 4, 1, 1), "c0": (6,), "u1": (6, 1, 3, 3), "u2": (4, 6, 1, 1)},
    ),
    "gates": (
        """b{i} = Conv({x}, u0_{i})
        p{i} = GlobalAveragePool(b{i}) q{i} = Conv(p{i}, u1_{i}) r{i} = Relu(q{i}) t{i} = Conv(r{i}, u2_{i})
        h{i} = Sigmoid(t{i}) m{i} = Mul(b{i}, h{i}) k{i} = Sigmoid(m{i}) n{i} = Mul(m{i}, k{i})
        v{i} = PRelu(n{i}, u3_{i}) o{i} = Mul(v{i}, u4_{i}) d{i} = Conv(o{i}, u5_{i})
        s{i} = Add({x}, d{i}) x{i} = Relu(s{i})""",
        {
            "u0": (6, 4, 1, 1),
            "u1": (2, 6, 1, 1),
            "u2": (6, 2, 1, 1),
            "u3": (6, 1, 1),
            "u4": (1, 6, 1, 1),
            "u5": (4, 6, 1, 1),
        },
    ),
}
CONSTANTS = {"zero": np.float32(0), "six": np.float32(1.5)}


def text(form: str, count: int = 2) -> str:
    blocks = [FORMS[form][0].format(i=i, x=f"x{i - 1}") for i in range(1, count + 1)]
    lines = ["a = Conv(x, w)", "x0 = Relu(a)", *blocks, f"y = GlobalAveragePool(x{count})"]
    return f"g (float[N,3,8,8] x) => (float[N,4,1,1] y) {{ {' '.join(lines)} }}"


def weights(form: str, count: int = 2, zero: int | None = None) -> dict[str, np.ndarray]:
    """`zero`: the block whose last layer is zero."""
    _, shapes = FORMS[form]
    found: dict[str, np.ndarray] = {"w": builders.normal(4, 3, 1, 1), **CONSTANTS}
    *_, last = (name for name in shapes if name[0] == "u")
    for i in range(1, count + 1):
        for seed, (name, shape) in enumerate(shapes.items()):
            drawn = builders.normal(*shape, seed=10 * i + seed) / np.float32(np.sqrt(np.prod(shape[1:]) or 1))
            found[f"{name}_{i}"] = drawn * np.float32(zero != i or name not in (last, "c1"))
    return found


def network(form: str, count: int = 2, zero: int | None = None) -> Model:
    return builders.model(text(form, count), **weights(form, count, zero))


def pairs(model: Model) -> list[BlockPair]:
    blocks = find_blocks(model.graph, infer_shapes(model.graph)).found
    return find_pairs(model.graph, [block for block in blocks if len(block.layers) > 1])


def merged(model: Model) -> Model:
    """The first pair."""
    merge_pair(Rewriter(model.graph), pairs(model)[0])
    check_graph(model)
    return model


def tensors(model: Model, *names: str) -> Mapping[str, np.ndarray]:
    """Values of inner tensors."""
    return graph_session(model.graph, list(names)).run({"x": builders.normal(2, 3, 8, 8, seed=99)})


@pytest.mark.parametrize("form", FORMS)
def test_a_wide_block_adds_what_both_branches_find_in_the_entry_of_the_first(form: str) -> None:
    own = {name: value for name, value in weights(form).items() if not name.endswith("_1")}
    alone = {name.replace("_2", "_1"): value for name, value in own.items()}
    first = tensors(network(form), "d1", "x0")
    second = tensors(builders.model(text(form, 1), **alone), "d1")
    total = first["x0"] + first["d1"] + second["d1"]
    expected = total if form == "inverted" else np.maximum(total, 0)
    np.testing.assert_allclose(tensors(merged(network(form)), "x2")["x2"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_changes_where_the_first_branch_gives_zeros(form: str) -> None:
    before, after = (tensors(model, "y")["y"] for model in (network(form, 2, 1), merged(network(form, 2, 1))))
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


def test_nodes_have_the_names_of_the_first_and_the_sum_that_of_the_second() -> None:
    model = merged(network("basic"))
    assert builders.listing(model.graph) == [
        "a = Conv(x, w)",
        "x0 = Relu(a)",
        "b1 = Conv(x0, u0_1_1, c0_1_1)",
        "c1 = Relu(b1)",
        "d1 = Conv(c1, u1_1_1, c1_1_1)",
        "s2 = Add(x0, d1)",
        "x2 = Relu(s2)",
        "y = GlobalAveragePool(x2)",
    ]


def test_what_is_merged_merges_again() -> None:
    model = merged(merged(network("inverted", 3)))
    (depthwise,) = (node for node in model.graph.nodes if node.attrs.get("group", 1) > 1)
    assert depthwise.attrs["group"] == 18
    assert not pairs(model)


def test_a_wide_block_beside_its_pair_changes_nothing() -> None:
    model = network("gates")
    wide = put_beside(Rewriter(model.graph), pairs(model)[0])
    assert wide.parts[wide.nodes[0].outputs[0].name] == ("b1", "b2")
    np.testing.assert_array_equal(tensors(model, "y")["y"], tensors(network("gates"), "y")["y"])


@pytest.mark.parametrize(
    ("form", "old", "new"),
    [
        pytest.param("basic", "Add(x1, d2) x2", "Add(d1, d2) x2", id="no shortcut"),
        pytest.param("basic", "y = Glob", "z = Neg(x1) y = Glob", id="read elsewhere"),
        pytest.param("basic", "c2 = Relu", "c2 = Elu", id="another activation"),
        pytest.param("basic", "x2 = Relu(s2)", "x2 = Identity(s2)", id="another end"),
        pytest.param("basic", "Conv<pads=[1,1,1,1]>(c2", "Conv<pads=[2,2,2,2], dilations=[2,2]>(c2", id="dilated"),
        pytest.param("inverted", "Clip(e2, zero, six)", "Clip(e2, zero, zero)", id="another bound"),
        pytest.param("gates", "m2 = Mul(b2, h2)", "m2 = Mul(b2, b2)", id="another wiring"),
        pytest.param("gates", "m2 = Mul(b2, h2)", "m2 = Add(b2, h2)", id="another operator"),
        pytest.param("gates", "n2 = Mul(m2, k2)", "n2 = Mul(m2, k2) n3 = Neg(n2)", id="read within"),
    ],
)
def test_blocks_that_differ_stay_two(form: str, old: str, new: str) -> None:
    changed = text(form)
    assert old in changed
    model = builders.model(changed.replace(old, new), **weights(form))
    assert all(pair.second.exit.name != "x2" for pair in pairs(model))


def test_kernels_of_other_sizes_stay_two() -> None:
    own = weights("basic") | {"u1_2": builders.normal(4, 6, 1, 1)}
    model = builders.model(text("basic").replace("d2 = Conv<pads=[1,1,1,1]>", "d2 = Conv"), **own)
    assert not pairs(model)


BY_STEP = {
    "relu": "Relu({0})",
    "clip": "Clip({0}, zero, six)",
    "pool": "AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>({0})",
}
STEPS = (*BY_STEP, "group", "silu", "gate", "prelu", "scale")
Weights = dict[str, np.ndarray]


def drawn_branch(steps: list[str], width: int, i: int, rng: np.random.Generator) -> tuple[str, Weights]:
    """A 1 x 1 Conv to `width` channels, the steps, and a 3 x 3 Conv back to four."""
    lines, own = list[str](), Weights()

    def add(line: str, *shapes: tuple[int, ...]) -> None:
        here = f"h{i}_{len(lines) - 1}" if lines else f"x{i - 1}"
        names = [f"k{i}_{len(own) + index}" for index, _ in enumerate(shapes)]
        own.update(
            (name, rng.standard_normal(shape).astype(np.float32)) for name, shape in zip(names, shapes, strict=True)
        )
        lines.append(f"h{i}_{len(lines)} = {line.format(here, *names, before=f'h{i}_{len(lines) - 2}')}")

    add("Conv({0}, {1}, {2})", (width, 4, 1, 1), (width,))
    for step in steps:
        if step == "group":
            add(f"Conv<pads=[1,1,1,1], group={width}>({{0}}, {{1}})", (width, 1, 3, 3))
        elif step in ("silu", "gate"):
            add("Sigmoid({0})" if step == "silu" else "GlobalAveragePool({0})")
            add("Mul({0}, {before})")
        elif step in ("prelu", "scale"):
            add(*(("PRelu({0}, {1})", (width, 1, 1)) if step == "prelu" else ("Mul({0}, {1})", (1, width, 1, 1))))
        else:
            add(BY_STEP[step])
    add("Conv<pads=[1,1,1,1]>({0}, {1})", (4, width, 3, 3))
    return " ".join(lines), own


@given(
    steps=st.lists(st.sampled_from(STEPS), max_size=5),
    widths=st.lists(st.integers(2, 6), min_size=2, max_size=2),
    relu=st.booleans(),
    seed=st.integers(0, 2**16),
)
@settings(deadline=None)
def test_branches_of_any_steps_and_widths_stand_side_by_side(
    steps: list[str], widths: list[int], relu: bool, seed: int
) -> None:
    rng, blocks, own = np.random.default_rng(seed), list[str](), Weights()
    for i, width in enumerate(widths, 1):
        branch, constants = drawn_branch(steps, width, i, rng)
        last = branch.split(" = ")[-2].split()[-1]
        ends = f"s{i} = Add(x{i - 1}, {last}) x{i} = Relu(s{i})" if relu else f"x{i} = Add(x{i - 1}, {last})"
        blocks.append(f"{branch} {ends}")
        own |= constants
    body = " ".join(["a = Conv(x, w) x0 = Relu(a)", *blocks, "y = GlobalAveragePool(x2)"])
    graph = f"g (float[N,3,8,8] x) => (float[N,4,1,1] y) {{ {body} }}"
    own |= {"w": builders.normal(4, 3, 1, 1), **CONSTANTS}
    (pair,) = pairs(builders.model(graph, **own))
    first, second = (twins.outputs[0].name for twins in (pair.twins[-1].first, pair.twins[-1].second))
    found = tensors(builders.model(graph, **own), "x0", first)
    apart = builders.model(graph.replace("(x1, k2_0, k2_1)", "(x0, k2_0, k2_1)"), **own)
    wanted = found["x0"] + found[first] + tensors(apart, second)[second]
    result = tensors(merged(builders.model(graph, **own)), "x2")["x2"]
    limit = 1e-4 * max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(result, np.maximum(wanted, 0) if relu else wanted, rtol=0, atol=limit)
