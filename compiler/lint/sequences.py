"""Rules about recurrent networks, loops, attention and random numbers.

Sources: onnx-tensorrt docs/operators.md at 8.5-GA and 10.16.
"""

from __future__ import annotations

from ..graph.comparable import RANDOM
from .node import Node, shape_of
from .rule import TENSORRT, TENSORRT_10, Problem, Problems, every, node_rule

ACTIVATIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}
ATTENTION_INPUTS = {4: "past_key", 5: "past_value", 6: "nonpad_kv_seqlen"}
COMPLEX = 2


@node_rule("recurrent-activations", "RNN GRU LSTM", targets=TENSORRT, source="docs/operators.md, RNN, GRU, LSTM")
def recurrent_activations(node: Node) -> Problems:
    """Both directions of a bidirectional layer have the same activations."""
    names, count = node.attribute("activations", []), ACTIVATIONS[node.op]
    if node.attribute("direction") == "bidirectional" and names[:count] != names[count:]:
        yield Problem(f"activations={names} differ between the directions", "use two layers, one a direction")


@node_rule("lstm-form", "LSTM", targets=TENSORRT_10, source="10.16 docs/operators.md, LSTM")
def lstm_form(node: Node) -> Problems:
    """input_forget and layout stay 0."""
    for name in ("input_forget", "layout"):
        if node.attribute(name, 0):
            yield Problem(f"{name}=1", f"export with {name}=0")


@node_rule("loop-static", "Loop", targets=TENSORRT_10, source="10.16 docs/operators.md, Loop")
def loop_static(node: Node) -> Problems:
    """Carried values keep their shape, and stacked outputs need a constant trip count."""
    body, carried = node.bodies.get("body"), len(node.inputs) - 2
    if body is None:
        return
    if len(node.proto.output) > carried and node.computed(0):
        yield Problem("it stacks outputs over a computed trip count", "make the trip count a constant")
    for before, after in zip(body.graph.input[2:], body.graph.output[1 : 1 + carried], strict=False):
        start, end = shape_of(body.types.get(before.name)), shape_of(body.types.get(after.name))
        if start is not None and end is not None and _differ(start, end):
            yield Problem(f"'{before.name}' changes its shape in the loop", "pad it to one shape")


def _differ(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    known = [(a, b) for a, b in zip(one, other, strict=False) if isinstance(a, int) and isinstance(b, int)]
    return len(one) != len(other) or any(a != b for a, b in known)


@node_rule("attention", "Attention", targets=TENSORRT_10, source="10.16 docs/operators.md, Attention")
def attention(node: Node) -> Problems:
    """Q, K, V and the mask have 4 dimensions; there is no cache and no softcap."""
    for index in range(4):
        if node.rank(index) not in (None, 4):
            yield Problem(f"'{node.inputs[index]}' has {node.rank(index)} dimensions, expected 4", "reshape it")
    given = [name for index, name in ATTENTION_INPUTS.items() if node.has(index)]
    if given:
        yield Problem(f"the inputs {', '.join(given)}", "concatenate the cache outside of Attention")
    if node.attribute("softcap", 0.0):
        yield Problem(f"softcap={node.attribute('softcap')}", "decompose it into MatMul and Softmax")


@node_rule("rotary-positions", "RotaryEmbedding", targets=TENSORRT_10, source="10.16 docs/operators.md")
def rotary_positions(node: Node) -> Problems:
    """position_ids are INT64."""
    found = node.engine_type(3)
    if found not in (None, "INT64"):
        yield Problem(f"position_ids are {found}", "cast them to INT64")


@node_rule("tensor-scatter", "TensorScatter", targets=TENSORRT_10, source="10.16 docs/operators.md")
def tensor_scatter(node: Node) -> Problems:
    """TensorScatter works on 4 dimensions, along axis -2."""
    rank, axis = node.rank(0), node.attribute("axis", -2)
    if rank not in (None, 4):
        yield Problem(f"the cache has {rank} dimensions, expected 4", "reshape it")
    if axis not in (-2, 2):
        yield Problem(f"axis={axis}", "transpose so that it is -2")


@node_rule("scatter-reduction", "ScatterND", targets=TENSORRT_10, source="10.16 docs/operators.md")
def scatter_reduction(node: Node) -> Problems:
    """ScatterND overwrites; it does not add."""
    if node.attribute("reduction", "none") != "none":
        yield Problem(f"reduction={node.attribute('reduction')}", "use ScatterElements, or add in a node of its own")


@node_rule("topk-count", "TopK", targets=TENSORRT_10, source="10.16 docs/operators.md")
def topk_count(node: Node) -> Problems:
    """TopK gives fewer than 3840 values."""
    count = node.values(1)
    if count is not None and count.max(initial=0) >= 3840:
        yield Problem(f"K={count.max()}, at most 3839", "choose in two steps")


@node_rule("topk-unsorted", "TopK", targets=TENSORRT_10, severity="warning", source="10.16 docs/operators.md")
def topk_unsorted(node: Node) -> Problems:
    """TopK sorts, whatever it is asked; the document wants sorted=1, TensorRT for RTX 1.7 takes 0 too."""
    if node.attribute("sorted", 1) != 1:
        yield Problem("sorted=0", "ask for sorted values")


@node_rule("stft", "STFT", targets=TENSORRT_10, source="10.16 docs/operators.md; Changelog 10.5")
def stft(node: Node) -> Problems:
    """The signal is real; frame_step and window are initializers."""
    if node.computed(1) or node.computed(2):
        yield Problem("frame_step or window is computed", "store both as initializers")
    shape = node.shape(0)
    if shape is not None and len(shape) == 3 and shape[-1] == COMPLEX:
        yield Problem("the signal is complex", "transform real and imaginary parts one by one")


@node_rule("deform-conv", "DeformConv", targets=TENSORRT_10, source="10.16 docs/operators.md; Changelog 10.1")
def deform_conv(node: Node) -> Problems:
    """DeformConv has one or two spatial axes, padded alike on both sides."""
    rank, pads = node.rank(0), node.attribute("pads", [])
    if rank not in (None, 3, 4):
        yield Problem(f"the input has {rank} dimensions, TensorRT takes 3 or 4", "reshape it")
    if pads[: len(pads) // 2] != pads[len(pads) // 2 :]:
        yield Problem(f"pads={pads} differ between the sides", "pad in a node of its own")


@node_rule("random", " ".join(sorted(RANDOM)), targets=every, severity="warning", source="ONNX, random operators")
def random(node: Node) -> Problems:
    """Random numbers differ from run to run: what depends on them cannot be compared."""
    if "seed" not in node.attributes or not TENSORRT(node.context.target):
        yield Problem("it gives other numbers in every run", "feed the numbers as an input, or store them")


@node_rule(
    "random-seed",
    " ".join(sorted(RANDOM)),
    targets=TENSORRT,
    severity="warning",
    source="docs/operators.md, RandomUniform",
)
def random_seed(node: Node) -> Problems:
    """The seed is ignored."""
    if "seed" in node.attributes:
        yield Problem("the seed is ignored: every run gives other numbers", "store the numbers as an initializer")


RULES = (
    recurrent_activations,
    lstm_form,
    loop_static,
    attention,
    rotary_positions,
    tensor_scatter,
    scatter_reduction,
    topk_count,
    topk_unsorted,
    stft,
    deform_conv,
    random,
    random_seed,
)
