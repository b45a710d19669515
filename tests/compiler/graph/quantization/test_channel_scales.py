"""Which channels have a scale that nothing but Convs sees, and that equalization by it changes nothing in float."""

from __future__ import annotations

import numpy as np
import pytest
from builders import Images, model, normal, run
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.quantization.channel_scales import find_channel_scales
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.passes.quantization.equalization import equalize
from onnx_compress.runtime.calibration import channel_peaks

WEIGHTS = {
    "w": normal(6, 4, 1, 1, seed=1) * np.float32([1, 10, 0.5, 1, 20, 3]).reshape(-1, 1, 1, 1),
    "b": np.abs(normal(6, seed=2)) + 0.5,
    "v": normal(6, 6, 1, 1, seed=3),
    "both": normal(6, 12, 1, 1, seed=6),
    "deep": normal(12, 1, 3, 3, seed=4),
    "pairs": normal(3, 2, 1, 1, seed=5),
}
DEPTHWISE = "Conv<group = 6, pads = [1, 1, 1, 1]>"
POOL = "MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>"
FREE = {
    "in a row": "a = Conv(x, w, b) y = Conv(a, v)",
    "depthwise": f"a = Conv(x, w, b) r = Relu(a) y = {DEPTHWISE}(r, deep)",
    "grouped": "a = Conv(x, w, b) r = Relu(a) y = Conv<group = 3>(r, pairs)",
    "several readers": f"a = Conv(x, w, b) r = Relu(a) c = {DEPTHWISE}(r, deep) d = Conv(r, v)"
    " y = Concat<axis = 1>(c, d)",
    "pool": f"a = Conv(x, w, b) r = Relu(a) p = {POOL}(r) c = Conv(p, v) d = Conv(r, v) y = Sub(c, d)",
    "concat": "a = Conv(x, w, b) r = Relu(a) c = Conv(x, w2, b) j = Concat<axis = 1>(r, c) y = Conv(j, both)",
    "twice in a concat": "a = Conv(x, w, b) j = Concat<axis = 1>(a, a) y = Conv(j, both)",
    "a shared weight": f"a = Conv(x, w, b) r = Relu(a) s = Conv(x, w, b) t = Relu(s) c = {DEPTHWISE}(r, deep)"
    " d = Conv(t, v) y = Concat<axis = 1>(c, d)",
}
SEEN = {
    "another reader": "a = Conv(x, w) b1 = Conv(a, v) d = Sigmoid(a) y = Mul(b1, d)",
    "before the ReLU": "a = Conv(x, w) r = Relu(a) b1 = Conv(r, v) y = Add(b1, a)",
    "a Clip": "a = Conv(x, w) r = Clip(a) y = Conv(r, v)",
    "a Concat with another": "a = Conv(x, w) s = Sigmoid(a) c = Conv(x, w2) j = Concat<axis = 1>(s, c)"
    " y = Conv(j, both)",
    "along another axis": "a = Conv(x, w) c = Conv(x, w2) j = Concat<axis = 2>(a, c) y = Conv(j, v)",
    "no Conv": "a = Conv(x, w) r = Relu(a) y = Relu(r)",
    "a weight with other inputs": "a = Conv(x, w) c = Conv(a, v) d = Sigmoid(a) e = Conv(d, v) y = Sub(c, e)",
    "a weight that it reads itself": "a = Conv(x, w) c = Conv(a, v) d = Conv(c, v) s = Sigmoid(d) y = Sub(c, s)",
}


def network(body: str) -> Model:
    more = {"w2": WEIGHTS["w"][::-1].copy(), "u": normal(6, 6, 1, 1, seed=7), "six": normal(6, 1, 3, 3, seed=8)}
    weights = {**WEIGHTS, **more}
    return model(f"g (float[N,4,5,5] x) => (float[N,C,5,5] y) {{ {body} }}", **weights)


def free(body: str, through_relu: bool = True) -> int:
    """Channels."""
    scales = find_channel_scales(network(body).graph, lambda _: True, through_relu)
    return sum(not scales.fixed[number] for numbers in scales.together() for number in numbers)


@pytest.mark.parametrize("name", FREE)
def test_channels_that_convs_alone_see(name: str):
    assert free(FREE[name]) == (12 if name == "concat" else 6)


@pytest.mark.parametrize("name", SEEN)
def test_channels_that_something_else_sees(name: str):
    assert free(SEEN[name]) == 0


def test_a_relu_on_request():
    assert free(FREE["in a row"], through_relu=False) == 6
    assert free(FREE["depthwise"], through_relu=False) == 0
    assert free(FREE["concat"], through_relu=False) == 0


def test_an_output_of_the_network_sees_its_channels():
    text = "g (float[N,4,5,5] x) => (float[N,6,5,5] a, float[N,6,5,5] y) { a = Conv(x, w) y = Conv(a, v) }"
    assert find_channel_scales(model(text, **WEIGHTS).graph, lambda _: True, True).fixed[:6].all()


def test_a_reader_that_is_not_accepted_sees_its_channels():
    graph = network("a = Conv(x, w) c = Conv(a, v) d = Conv(a, v) y = Add(c, d)").graph
    assert find_channel_scales(graph, lambda node: node.outputs[0].name != "d", True).fixed.all()


def test_a_body_sees_what_it_reads():
    text = """g (float[N,4,5,5] x, bool k) => (float[N,6,5,5] y) {
        a = Conv(x, w) c = Conv(a, v)
        i = If (k) <then_branch = t () => (float[N,6,5,5] o) { o = Identity(a) },
                    else_branch = e () => (float[N,6,5,5] n) { n = Identity(c) }>
        y = Add(i, c)
    }"""
    assert find_channel_scales(model(text, **WEIGHTS).graph, lambda _: True, True).fixed.all()


@pytest.mark.parametrize("name", [*FREE, *SEEN])
@pytest.mark.parametrize("data", [None, Images(normal(8, 4, 5, 5, seed=9))], ids=["without data", "with data"])
def test_equalization_changes_nothing_in_float(name: str, data: Images | None):
    body = {**FREE, **SEEN}[name]
    before, after = network(body), network(body)
    assert (equalize(Rewriter(after.graph, {}), lambda _: True, data, through_relu=True) > 0) == (name in FREE)
    x = normal(8, 4, 5, 5, seed=9)
    np.testing.assert_allclose(run(after, x=x)["y"], run(before, x=x)["y"], rtol=1e-4, atol=1e-4)
    if data is not None and name in FREE:
        tensors = find_channel_scales(after.graph, lambda _: True, True).tensors
        reach = np.zeros(1 + max(numbers.max() for numbers in tensors.values()))
        for tensor, peaks in channel_peaks(after.graph, list(tensors), data, 8).items():
            np.maximum.at(reach, tensors[tensor], peaks)
        seen = reach[np.unique(np.concatenate(list(tensors.values())))]
        np.testing.assert_allclose(seen, seen.max(), rtol=1e-4)


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """A DAG of maps with 6 channels, of what scales pass and what they do not."""
    lines, maps = ["t0 = Conv(x, w, b)"], ["t0"]
    made = (
        *("Conv({one}, v)", "Conv({one}, v, b)", "Conv({one}, u, b)", "Relu({one})", "Relu({one})", "Sigmoid({one})"),
        *("Conv<group = 6, pads = [1, 1, 1, 1]>({one}, six, b)", f"{POOL}({{one}})", "Add({one}, {other})"),
    )
    for number in range(1, draw(st.integers(3, 10))):
        one, other = draw(st.sampled_from(maps[-3:])), draw(st.sampled_from(maps))
        lines.append(f"t{number} = {draw(st.sampled_from(made)).format(one=one, other=other)}")
        maps.append(f"t{number}")
    ends = f"j = Concat<axis = 1>({maps[-1]}, {draw(st.sampled_from(maps))})"
    return " ".join([*lines, ends, "y = Conv(j, both)"])


@given(bodies(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_network_stays_the_same(body: str, through_relu: bool):
    before, after = network(body), network(body)
    x = normal(4, 4, 5, 5, seed=9)
    equalize(Rewriter(after.graph, {}), lambda _: True, Images(x), through_relu)
    wanted, found = (run(each, x=x)["y"] for each in (before, after))
    assert np.linalg.norm(found - wanted) <= 1e-4 * np.linalg.norm(wanted) + 1e-5
