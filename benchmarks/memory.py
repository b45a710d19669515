"""Peak memory of a model whose weights lie in a file beside it, compressed from its weights alone: a JSON line.

    python benchmarks/memory.py [--gigabytes 3] [--pipeline basis:rank=0.25:form=channel] [--folder DIR]

The model is a chain of 3 x 3 Convs of 1,024 channels with random weights. `ratio` is the peak of the process, less that
of one that only imports the package, to the bytes of the weights. Nothing is kept, but in --folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

CHANNELS = 1024
SHAPE = (CHANNELS, CHANNELS, 3, 3)
LAYER = 4 * CHANNELS * CHANNELS * 9
IMPORTS = "import onnx_compress.api"


def build(folder: Path, gigabytes: float) -> Path:
    """The model and its data file, a layer at a time."""
    layers = max(1, round(gigabytes * 1e9 / LAYER))
    graph = helper.make_graph(
        [
            helper.make_node("Conv", [f"x{n}", f"w{n}"], [f"x{n + 1}"], name=f"conv{n}", pads=[1, 1, 1, 1])
            for n in range(layers)
        ],
        "chain",
        [helper.make_tensor_value_info("x0", onnx.TensorProto.FLOAT, ["N", CHANNELS, 8, 8])],
        [helper.make_tensor_value_info(f"x{layers}", onnx.TensorProto.FLOAT, ["N", CHANNELS, 8, 8])],
    )
    rng = np.random.default_rng(0)
    with (folder / "big.data").open("wb") as data:
        for n in range(layers):
            tensor = graph.initializer.add(name=f"w{n}", data_type=onnx.TensorProto.FLOAT, dims=SHAPE)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            values = rng.standard_normal(SHAPE, np.float32)
            entries = {"location": "big.data", "offset": data.tell(), "length": data.write((values / 96).tobytes())}
            for key, value in entries.items():
                tensor.external_data.add(key=key, value=str(value))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "big.onnx").write_bytes(model.SerializeToString())
    return folder / "big.onnx"


def peak(*arguments: str) -> tuple[int, float]:
    """Bytes and seconds of a process of its own."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments])
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"exit status {os.waitstatus_to_exitcode(status)}")
    return 1024 * used.ru_maxrss, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of a big model.")
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--pipeline", default="basis:rank=0.25:form=channel")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = args.folder or Path(place)
        model = build(folder, args.gigabytes)
        words = ("-p", args.pipeline, "-o", str(folder / "out.onnx"), "--target", "ort", "--overwrite", "-q")
        bare, _ = peak("-c", IMPORTS)
        most, seconds = peak("-m", "onnx_compress", str(model), *words)
        size = (folder / "big.data").stat().st_size
        written = sum(path.stat().st_size for path in folder.glob("out.onnx*"))
    line = {"benchmark": "memory", "pipeline": args.pipeline, "weights": size, "written": written, "peak": most}
    print(json.dumps({**line, "imports": bare, "ratio": round((most - bare) / size, 3), "seconds": round(seconds, 1)}))


if __name__ == "__main__":
    main()
