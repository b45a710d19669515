"""Runs over networks in which sequences of tensors, and optional ones, lie between the Convs, or are outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import normal, proto, run
from onnx_compress import compress
from onnx_compress.compiler.errors import CompressError

STORED = {
    "w1": 0.3 * normal(16, 3, 3, 3),
    "w2": 0.1 * normal(16, 16, 3, 3, seed=1),
    "w3": 0.1 * normal(8, 8, 3, 3, seed=2),
    "half": np.array(8, np.int64),
    "nought": np.array(0, np.int64),
    "one": np.array(1, np.int64),
    "two": np.array(2, np.int64),
    "yes": np.array(True),
}
PADS = "pads = [1,1,1,1]"
BODY = """body (int64 n, bool go, seq(float[A,B,C,D]) s) => (bool on, seq(float[A,B,C,D]) t)
    { on = Identity(go) v = SequenceAt(s, nought) u = Relu(v) t = SequenceInsert(s, u) }"""
NETWORKS = {
    "split": f"""c = Conv<{PADS}>(x, w1) q = SplitToSequence<axis = 1>(c, half) a = SequenceAt(q, nought)
        d = Conv<{PADS}>(a, w3) b = SequenceAt(q, one) y = Concat<axis = 1>(d, b)""",
    "inserted": f"""c = Conv<{PADS}>(x, w1) e = SequenceEmpty() q = SequenceInsert(e, c) r = Relu(c)
        p = SequenceInsert(q, r) a = SequenceAt(p, one) d = Conv<{PADS}>(a, w2) o = SequenceInsert(p, d)
        y = ConcatFromSequence<axis = 1>(o)""",
    "passed on": f"""c = Conv<{PADS}>(x, w1) q = SequenceConstruct(c, c) p = Identity(q) a = SequenceAt(p, one)
        d = Conv<{PADS}>(a, w2) y = Relu(d)""",
    "optional": f"""c = Conv<{PADS}>(x, w1) o = Optional(c) a = OptionalGetElement(o) d = Conv<{PADS}>(a, w2)
        y = Relu(d)""",
    "loop": f"""c = Conv<{PADS}>(x, w1) q = SequenceConstruct(c) p = Loop(two, yes, q) <body = {BODY}>
        a = SequenceAt(p, one) d = Conv<{PADS}>(a, w2) y = Relu(d)""",
    "output": f"""c = Conv<{PADS}>(x, w1) y = Conv<{PADS}>(c, w2) z = SequenceConstruct(c, y)""",
}
PASSES = [
    "basis:macs=0.8",
    "basis:macs=0.8:sensitivity=output",
    "sparse-lowrank:macs=0.9",
    "sbf:macs=0.9",
    "filter-summary",
    "codebook",
    "quantize",
]


def network(name: str) -> onnx.ModelProto:
    body = NETWORKS[name]
    words = body.replace("(", " ").replace(")", " ").replace(",", " ").split()
    outputs = "float[N,A,8,8] y" + (", seq(float[N,A,8,8]) z" if " z = " in body else "")
    used = {key: values for key, values in STORED.items() if key in words}
    return proto(f"g (float[N,3,8,8] x) => ({outputs}) {{ {body} }}", **used)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, x=normal(64, 3, 8, 8))
    return path


@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_convs_around_them_are_compressed(name: str, passes: str, images: Path):
    result = compress(network(name), passes, target="ort", data=images)
    x = normal(4, 3, 8, 8, seed=5)
    before, after = run(network(name), x=x)["y"], run(result.proto, x=x)["y"]
    assert after.shape == before.shape
    assert 0 < np.linalg.norm(after - before) < 0.9 * np.linalg.norm(before)


@pytest.mark.parametrize("name", ["split", "loop"])
def test_pruning_leaves_what_is_read_from_them(name: str, images: Path):
    with pytest.raises(CompressError, match="cannot be reached"):
        compress(network(name), "prune:macs=0.9", target="ort", data=images)
