"""Damaged models: each is answered by a clear error or a valid result, in bounded time and memory. Prints JSON lines.

    python benchmarks/mutations.py [--count 2000] [--seed 0] [--limit 20] [--memory 4] [--keep FOLDER]

A small network is damaged, in its bytes (flipped, cut, repeated, overwritten) or in a field of its protobuf (a
dimension, a type, a name, an attribute, an operator, raw data), and goes through the command line in a process with a
memory limit of so many GB. A line for every case that is answered otherwise, and one with the counts:

    refused    exit code 1 or 2, one line on stderr, nothing written
    valid      exit code 0 and a model that the checker takes, or refuses with the words it has for what came in;
               operators that it does not know aside; onnxruntime loads it where it loaded the original and `check`
               passes it; a default session gives what it gives as written; its file keeps to the budget
    bad        anything else: an unexpected exception, a file beside an error, an invalid model, a crash, a timeout
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from examined import Loaded, contradicted, engine_gap, inputs, limits, over_budget, random_values
from isolated import Isolated
from onnx import numpy_helper, parser

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N,3,8,8] x) => (float[N,4] y) {
    a = Conv<pads=[1,1,1,1], kernel_shape=[3,3]>(x, w, b)
    n = BatchNormalization(a, s, o, m, v)
    r = Relu(n)
    t = Cast<to=1>(codes)
    h = Sub(t, zeros)
    u = Mul(h, scales)
    c = Conv<group=2, strides=[2,2]>(r, u)
    k = Concat<axis=1>(c, c)
    p = GlobalAveragePool(k)
    q = Reshape(p, shape)
    y = Gemm<transB=1>(q, f)
}"""
PACKED = ("basis:energy=0.9,quantize", "prune:macs=0.9", "cleanup")
"""Pipelines that take a network with a weight that is stored as codes already."""
PIPELINES = (*PACKED, "basis:bytes=0.9", "codebook", "sbf:energy=0.9")


def network(packed: bool = True) -> bytes:
    """`packed`: the second Conv's weight is stored as codes."""
    rng, model = np.random.default_rng(0), parser.parse_model(TEXT)
    sizes = {"w": (8, 3, 3, 3), "b": (8,), "s": (8,), "o": (8,), "m": (8,), "v": (8,), "f": (4, 16)}
    sizes["scales"] = (8, 1, 1, 1)
    arrays = {name: np.abs(rng.standard_normal(size)).astype(np.float32) for name, size in sizes.items()}
    arrays["shape"] = np.array([0, -1])
    arrays["codes"] = rng.integers(0, 256, (8, 4, 3, 3), np.uint8)
    arrays["zeros"] = np.full((8, 1, 1, 1), 128, np.float32)
    if not packed:
        nodes = [node for node in model.graph.node if node.op_type not in ("Cast", "Sub", "Mul")]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        arrays["u"] = np.multiply(arrays["codes"] - arrays["zeros"], arrays["scales"], dtype=np.float32) / 64
        arrays = {name: value for name, value in arrays.items() if name not in ("codes", "zeros", "scales")}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in arrays.items())
    return model.SerializeToString()


def damaged_bytes(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if not data:
            break
        at, size = rng.randrange(len(data)), rng.randrange(1, 64)
        kind = rng.randrange(5)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at : at + size]
        elif kind == 2:
            data[at:at] = data[at : at + size]
        elif kind == 3:
            data[at : at + size] = rng.randbytes(size)
        else:
            del data[max(1, at) :]
    return bytes(data)


def damaged_fields(content: bytes, rng: random.Random) -> bytes:
    model = onnx.load_model_from_string(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        rng.choice(FIELDS)(model, rng)
    return model.SerializeToString()


def _dimension(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(list(model.graph.initializer))
    if tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice((0, 1, -1, 7, 1 << 31, (1 << 62) - 1))


def _rank(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(list(model.graph.initializer))
    tensor.dims[:] = rng.choice(([], [1] * 9, list(tensor.dims)[::-1], [*tensor.dims, 1]))


def _type(model: onnx.ModelProto, rng: random.Random) -> None:
    rng.choice(list(model.graph.initializer)).data_type = rng.randrange(0, 40)


def _raw(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(list(model.graph.initializer))
    tensor.raw_data = rng.choice((b"", tensor.raw_data[:-1], tensor.raw_data * 2, rng.randbytes(len(tensor.raw_data))))


def _wire(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice(list(model.graph.node))
    names = [name for one in model.graph.node for name in (*one.input, *one.output)] + ["", "nowhere"]
    side = rng.choice((node.input, node.output))
    if side:
        side[rng.randrange(len(side))] = rng.choice(names)


def _arity(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice(list(model.graph.node))
    side = rng.choice((node.input, node.output))
    if side and rng.random() < 0.5:
        del side[-1]
    else:
        side.append(rng.choice(("", "x", "w", "new")))


def _attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice([node for node in model.graph.node if node.attribute])
    found = rng.choice(list(node.attribute))
    action = rng.randrange(5)
    if action == 0:
        node.attribute.remove(found)
    elif action == 1:
        found.type = rng.randrange(0, 15)
    elif action == 2:
        found.i = rng.choice((-1, 0, 3, 1 << 40))
    elif action == 3 and found.ints:
        found.ints[rng.randrange(len(found.ints))] = rng.choice((-1, 0, 5, 1 << 40))
    else:
        found.ints.append(rng.choice((0, 1, -3)))


def _operator(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice(list(model.graph.node))
    node.op_type = rng.choice(("Conv", "Gemm", "Add", "If", "Loop", "ConvTranspose", "Nonsense", "", "Concat", "Split"))


def _domain(model: onnx.ModelProto, rng: random.Random) -> None:
    rng.choice(list(model.graph.node)).domain = rng.choice(("ai.onnx", "com.microsoft", "my.ops", "ai.onnx.ml"))


def _opset(model: onnx.ModelProto, rng: random.Random) -> None:
    if rng.random() < 0.3:
        del model.opset_import[:]
    for entry in model.opset_import:
        entry.version = rng.choice((0, -1, 1, 6, 11, 26, 99, 1 << 40))
    model.ir_version = rng.choice((0, 3, 8, 11, 99))


def _shape(model: onnx.ModelProto, rng: random.Random) -> None:
    entry = rng.choice((model.graph.input[0], model.graph.output[0]))
    action, dims = rng.randrange(4), entry.type.tensor_type.shape.dim
    if action == 0 and dims:
        dims[rng.randrange(len(dims))].dim_value = rng.choice((-1, 0, 3, 1 << 40))
    elif action == 1:
        entry.type.Clear()
    elif action == 2:
        entry.type.tensor_type.elem_type = rng.randrange(0, 40)
    else:
        entry.name = rng.choice(("", "w", "y", "x", "nowhere"))


def _order(model: onnx.ModelProto, rng: random.Random) -> None:
    nodes = list(model.graph.node)
    rng.shuffle(nodes)
    if rng.random() < 0.5:
        nodes.append(nodes[0])
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _external(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(list(model.graph.initializer))
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entries = {
        "location": rng.choice(("", "weights.bin", "../x", "/etc/passwd", ".")),
        "offset": rng.choice(("-1", "x")),
    }
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)


FIELDS: tuple[Callable[[onnx.ModelProto, random.Random], None], ...] = (
    *(_dimension, _rank, _type, _raw, _wire, _arity, _attribute),
    *(_operator, _domain, _opset, _shape, _order, _external),
)


def answer(path: str, pipeline: str) -> tuple[str, str]:
    """(refused, valid or bad; what was said)."""
    from onnx_compress.cli import main

    out = Path(path).with_suffix(".out.onnx")
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main([path, "-p", pipeline, "-o", str(out), "--target", "ort", "-q"])
    lines = said.getvalue().strip().splitlines()
    written = out.is_file()
    if code == 0:
        try:
            problem = _problem(Path(path), out, pipeline)
            return ("bad" if problem else "valid"), problem
        finally:
            out.unlink(missing_ok=True)
    told = len(lines) == 1 and "unexpected" not in lines[0] and "please report" not in lines[0]
    return ("refused" if told and not written else "bad"), " | ".join(lines)


def _problem(path: Path, out: Path, pipeline: str) -> str:
    """What is wrong with a model that was written, "" where nothing is."""
    fault = _fault(out)
    if fault and "No Op registered" not in fault and fault != _fault(path):
        return f"invalid result: {fault}"
    result, written = onnx.load(out), Loaded(out)
    if not Loaded(path).refused:
        problem = contradicted(result, written, folder=out.parent)
        if problem:
            return problem
    sizes = ({"bytes": file.stat().st_size} for file in (path, out))
    problem = over_budget(limits(pipeline), *sizes)
    if problem:
        return problem
    feeds = {entry.name: random_values(entry, {}, 8, first=1) for entry in inputs(result)}
    return engine_gap(written.run(feeds), Loaded(out, optimized=True).run(feeds), None)


def _fault(path: Path) -> str:
    """What the checker says of a model."""
    try:
        onnx.checker.check_model(str(path))
    except Exception as error:
        return str(error)
    return ""


def answers() -> Callable[[str, str], tuple[str, str]]:
    return answer


def main() -> None:
    parser_ = argparse.ArgumentParser(description="Damaged models are refused or compressed, and nothing else.")
    parser_.add_argument("--count", type=int, default=2000)
    parser_.add_argument("--seed", type=int, default=0)
    parser_.add_argument("--limit", type=float, default=20)
    parser_.add_argument("--memory", type=float, default=4)
    parser_.add_argument("--keep", type=Path, help="folder for the models of bad cases")
    args = parser_.parse_args()
    counts, contents = Counter[str](), {packed: network(packed) for packed in (True, False)}
    ask = Isolated(answers, args.limit, args.memory)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.count):
            rng = random.Random(args.seed * 1_000_003 + number)
            pipeline = rng.choice(PIPELINES)
            damage = damaged_bytes if number % 2 else damaged_fields
            damaged = damage(contents[pipeline in PACKED], rng)
            path = Path(folder) / "net.onnx"
            path.write_bytes(damaged)
            found, problem = ask(str(path), pipeline)
            kind, said = found or ("bad", problem)
            counts[kind] += 1
            if kind == "bad":
                print(json.dumps({"case": number, "pipeline": pipeline, "said": said[:500]}), flush=True)
                if args.keep is not None:
                    args.keep.mkdir(parents=True, exist_ok=True)
                    (args.keep / f"{number}.onnx").write_bytes(damaged)
    print(json.dumps({"benchmark": "mutations", "seed": args.seed, "count": args.count, **counts}), flush=True)


if __name__ == "__main__":
    main()
