"""The layers that post-processing chooses by: those right before it, through moves and decoding, no others."""

from __future__ import annotations

import pytest
from builders import model
from onnx_compress.compiler.graph.quantization.heads import head_layers

HEAD = """g (float[1,4,8,8] x, int64[1] k) => (float[1,5] v, int64[1,5] i, float[1,4,8,8] other) {
    [backbone] f = Conv(x, w)
    [neck] n = Conv(f, w)
    [scores] s = Conv(n, w)
    [side] other = Conv(n, w)
    a = Sigmoid(s)
    r = Reshape(a, shape)
    c = Gather(r, k)
    [choose] v, i = TopK(r, CHOOSE)
}"""


def heads(text: str) -> dict[str, str]:
    graph = model(text).graph
    found = head_layers(graph)
    return {node.name: found[id(node)].name for node in graph.nodes if id(node) in found}


@pytest.mark.parametrize("count", ["k", "c"])
def test_only_the_last_layers_before_the_choice(count: str):
    assert heads(HEAD.replace("CHOOSE", count)) == {"scores": "choose"}


def test_boxes_and_scores_of_a_suppression():
    text = """g (float[1,4,8,8] x, int64[1] m) => (int64[n,3] y) {
        [box] b = Conv(x, w) [score] s = Conv(x, w) [limit] l = Conv(x, w)
        [nms] y = NonMaxSuppression(b, s, m, l)
    }"""
    assert heads(text) == {"box": "nms", "score": "nms"}


def test_a_layer_on_a_softmax_decodes_and_the_one_before_predicts():
    text = """g (float[1,4,8,8] x, int64[1] k) => (float[1,5] v, int64[1,5] i) {
        [before] f = Conv(x, w) [predicts] p = Conv(f, w) q = Reshape(p, r) s = Softmax(q) t = Transpose(s)
        [decodes] d = Conv(t, w) v, i = TopK(d, k)
    }"""
    assert set(heads(text)) == {"predicts", "decodes"}


def test_counts_are_no_values():
    text = """g (float[1,4,8,8] x, float[1,9] z) => (float[1,5] v, int64[1,5] i) {
        [c] f = Conv(x, w) s = Shape(f) k = Gather(s, a) z2 = Add(z, k) v, i = TopK(z2, k)
    }"""
    assert heads(text) == {}
