"""What a group says about its units: who makes them, who reads them, what ties and freezes them."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from builders import model, normal
from onnx_compress.compiler.graph.channels import Group, Part, describe, find_channels

RESIDUAL = """g (float[N,3,4,4] x) => (float[N,5] y) {
  [stem] a = Conv(x, w0, b0)
  [norm] n = BatchNormalization(a, s, s, s, s)
  [one] c = Conv(n, w1)
  [two] d = Conv(c, w2)
  [sum] e = Add(n, d)
  [flat] f = Flatten(e)
  [head] y = Gemm <transB=1> (f, w3)
}"""
WEIGHTS = {
    "w0": normal(4, 3, 1, 1),
    "b0": normal(4),
    "s": np.ones(4, np.float32),
    "w1": normal(6, 4, 3, 3),
    "w2": normal(4, 6, 3, 3),
    "w3": normal(5, 16),
}
PADS = """g (float[N,3,4,4] x) => (float[N,5] y) {
  [stem] a = Conv(x, w0, b0)
  [norm] n = BatchNormalization(a, s, s, s, s)
  [one] c = Conv <pads=[1,1,1,1]> (n, w1)
  [two] d = Conv <pads=[1,1,1,1]> (c, w2)
  [sum] e = Add(n, d)
  [pool] p = MaxPool <kernel_shape=[2,2], strides=[2,2]> (e)
  [flat] f = Flatten(p)
  [head] y = Gemm <transB=1> (f, w3)
}"""


def groups(text: str, **weights: np.ndarray) -> tuple[Group, ...]:
    return find_channels(model(text, **weights).graph).groups


def names(parts: tuple[Part, ...]) -> list[str]:
    return [f"{part.node.name}.{part.input}:{part.axis}" for part in parts]


def test_a_residual_stream_is_one_group():
    stream, inner, head = groups(PADS, **WEIGHTS)
    assert (stream.name, stream.size, stream.frozen) == ("stem", 4, None)
    assert names(stream.producers) == ["stem.1:0", "two.1:0"]
    assert names(stream.consumers) == ["one.1:1", "head.1:1"]
    assert names(stream.parameters) == ["stem.2:0", "norm.1:0", "norm.2:0", "norm.3:0", "norm.4:0"]
    assert stream.chain == ("Add 'sum' ties 'd' to 'n'",)
    assert (inner.name, inner.size, inner.frozen, inner.chain) == ("one", 6, None, ())
    assert (head.name, head.frozen) == ("head", "'y' is an output of the model")


def test_a_flattened_channel_owns_a_row_per_position():
    stream = groups(PADS, **WEIGHTS)[0]
    rows = stream.consumers[1]
    assert rows.index.tolist() == list(range(16))
    assert rows.unit.tolist() == np.repeat(range(4), 4).tolist()


def test_entries_are_the_filters_of_the_units():
    inner = groups(PADS, **WEIGHTS)[1]
    (made,), (read,) = inner.producers, inner.consumers
    np.testing.assert_array_equal(made.entries(), WEIGHTS["w1"].reshape(6, -1)[made.unit])
    np.testing.assert_array_equal(read.entries(), WEIGHTS["w2"].swapaxes(0, 1).reshape(6, -1)[read.unit])


def test_what_does_not_fit_freezes_and_does_not_raise():
    """The text is not a valid model: the Convs shrink what is added, so that its shape is unknown."""
    assert all(group.frozen for group in groups(RESIDUAL, **WEIGHTS) if group.name != "one")


def test_units_of_one_layer_may_be_frozen_in_part():
    text = "g (float[N,2,4,4] x) => (float[N,2,4,4] y, float[N,3,4,4] z) { a = Conv(x, w) b, y = Split <axis=1> (a, s)"
    first, second, _ = groups(
        text + " z = Conv(b, v) }", w=normal(5, 2, 1, 1), v=normal(3, 3, 1, 1), s=np.array([3, 2], np.int64)
    )
    assert [(first.name, first.size, first.frozen), (second.name, second.size)] == [("Conv_0", 3, None), ("Conv_0", 2)]
    assert second.frozen == "'y' is an output of the model"
    assert first.producers[0].index.tolist() == [0, 1, 2]
    assert second.producers[0].index.tolist() == [3, 4]


def test_a_single_picked_channel_stays_alone():
    text = (
        "g (float[N,2,4,4] x) => (float[N,1,4,4] z) { a = Conv(x, w) b = Gather <axis=1> (a, one) c = Unsqueeze(b, one)"
    )
    free, fixed, _ = groups(
        text + " d = Mul(a, c) z = Conv(d, v) }", w=normal(5, 2, 1, 1), v=normal(1, 5, 1, 1), one=ONE
    )
    assert (free.size, free.frozen) == (4, None)
    assert fixed.frozen == "Gather 'Gather_1' picks single channels"
    assert fixed.producers[0].index.tolist() == [1]


ONE = np.array(1, np.int64)


def test_a_unit_that_is_all_of_a_tensor_stays():
    """The groups of the depthwise Conv of x cannot go one by one."""
    text = "g (float[N,2,4,4] x) => (float[N,2,4,4] y) { a = Conv <group=2> (x, w) y = Conv(a, v) }"
    first = groups(text, w=normal(2, 1, 1, 1), v=normal(2, 2, 1, 1))[0]
    assert (first.size, first.frozen) == (1, "all channels of 'a' live or die together")


def test_a_default_of_a_model_input_is_not_constant():
    source = model("g (float[N,2,4,4] x) => (float[N,2,4,4] y) { a = Conv(x, w) y = Conv(a, v) }",
                   w=normal(4, 2, 1, 1), v=normal(2, 4, 1, 1))  # fmt: skip
    weight = source.graph.nodes[1].inputs[1]
    source.graph.inputs.append(weight)
    (group,) = find_channels(source.graph).groups
    assert group.frozen == "Conv 'Conv_1' has a weight that is not constant"


def test_a_count_that_leaves_the_model_freezes():
    text = "g (float[N,2,4,4] x) => (float[N,2,4,4] y, int64[1] n) { a = Conv(x, w)"
    first = groups(
        text + " y = Conv(a, v) n = Shape <start=1, end=2> (a) }", w=normal(4, 2, 1, 1), v=normal(2, 4, 1, 1)
    )[0]
    assert first.frozen == "'n' is an output of the model"


def test_custom_operators_freeze():
    text = "g (float[N,2,4,4] x) => (float[N,2,4,4] y) { a = Conv(x, w) b = my.Relu(a) y = Conv(b, v) }"
    source = model(text, domains=', "my" : 1', w=normal(4, 2, 1, 1), v=normal(2, 4, 1, 1))
    assert find_channels(source.graph).groups[0].frozen == "Relu 'Relu_1' has no rule"


def test_no_layers_no_groups():
    assert find_channels(gs.Graph()).groups == ()
    assert groups("g (float[2] x) => (float[2] y) { y = Relu(x) }") == ()


def test_a_group_in_words():
    stream, _, head = groups(PADS, **WEIGHTS)
    assert describe(stream).splitlines() == [
        "stem: 4 units",
        "  made by Conv 'stem', Conv 'two'",
        "  read by Conv 'one', Gemm 'head'",
        "  with parameters of Conv 'stem', BatchNormalization 'norm'",
        "  Add 'sum' ties 'd' to 'n'",
    ]
    assert describe(head).startswith("head: 5 units, frozen: 'y' is an output of the model\n  made by Gemm 'head'")
