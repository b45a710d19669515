"""The tutorials can be typed: their commands, on networks and pictures that are small enough for a test."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import builders
import front
import numpy as np
import onnx
import pytest
from PIL import Image

DOCS = Path(__file__).parents[1] / "docs"
PALETTE = np.array([(235, 235, 235), (20, 30, 40), (200, 30, 30)])


def steps(page: str) -> Iterator[list[str]]:
    """The words of each line that a page has for the shell at the desk."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield from map(shlex.split, block.splitlines())


def typed(page: str, monkeypatch: pytest.MonkeyPatch, fetched: Callable[[], None] = lambda: None) -> None:
    """Runs what can be run without a device; `fetched` writes what comes back from there."""
    for program, *words in steps(page):
        if program == "export":
            for word in words:
                monkeypatch.setenv(*word.split("="))
        elif program == "scp" and words[-1] == ".":
            fetched()
        elif program == "onnx-compress" and (words[0] != "build" or "--via" in words):
            assert front.call(*words) == 0, words


def saved(folder: Path, *pictures: np.ndarray) -> None:
    folder.mkdir()
    for index, picture in enumerate(pictures):
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{index:03d}.png")


def coloured(count: int, rows: int, columns: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pictures of tiles of 16 pixels in the colours of the palette, with noise; and which colour a pixel has."""
    rng = np.random.default_rng(0)
    maps = [rng.integers(0, len(PALETTE), (rows, columns)).repeat(16, 0).repeat(16, 1) for _ in range(count)]
    return [np.clip(PALETTE[each] + rng.integers(-15, 16, (*each.shape, 3)), 0, 255) for each in maps], maps


def classifier(size: str, layout: str = "x0 = Identity(input)") -> onnx.ModelProto:
    """Four residual blocks; `layout` makes `x0`, channels first, of `input`."""
    names = [f"{letter}{index}" for letter in "vu" for index in range(4)]
    blocks = "\n".join(
        f"""a{index} = Conv<pads=[1,1,1,1]>(s{index}, v{index})
        r{index} = Relu(a{index})
        b{index} = Conv<pads=[1,1,1,1]>(r{index}, u{index})
        t{index} = Add(s{index}, b{index})
        s{index + 1} = Relu(t{index})"""
        for index in range(4)
    )
    graph = f"""g (float[N,{size}] input) => (float[N,7] logits) {{
        {layout}
        s0 = Conv<strides=[8,8], pads=[1,1,1,1]>(x0, w)
        {blocks}
        p = GlobalAveragePool(s4)
        f = Flatten(p)
        logits = Gemm<transB=1>(f, c)
    }}"""
    weights = {name: 0.05 * builders.normal(8, 8, 3, 3, seed=seed) for seed, name in enumerate(names)}
    return builders.proto(graph, w=builders.normal(8, 3, 8, 8), c=builders.normal(7, 8), **weights)


def squares_detector() -> onnx.ModelProto:
    """(1, 3, 416, 416) -> (1, 3549, 7), as YOLOX lays it out: finds white squares of 32 pixels, where a cell is one."""
    graph = """g (float[1,3,416,416] images) => (float[1,3549,7] output) {
        a = Conv<strides=[8,8]>(images, w8)
        b = Conv<strides=[16,16]>(images, w16)
        c = Conv<strides=[32,32]>(images, w32, b32)
        d = Relu(c)
        af = Reshape(a, flat)
        bf = Reshape(b, flat)
        df = Reshape(d, flat)
        rows = Concat<axis=2>(af, bf, df)
        output = Transpose<perm=[0,2,1]>(rows)
    }"""
    white = np.zeros((7, 3, 32, 32), np.float32)
    white[4] = 4 / (3 * 32 * 32 * 255)
    weights = {f"w{stride}": np.zeros((7, 3, stride, stride), np.float32) for stride in (8, 16)}
    bias = np.array([0.5, 0.5, 0, 0, -3, 1, 0], np.float32)
    return builders.proto(graph, w32=white, b32=bias, flat=np.array([1, 7, -1]), **weights)


@pytest.mark.slow
def test_a_detector(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    front.write_model(place / "yolox_nano.onnx", squares_detector())
    dark, labels = np.full((6, 208, 416, 3), 20), place / "labels"
    labels.mkdir()
    for index, picture in enumerate(dark):
        picture[32 * index : 32 * index + 32, 64 * index : 64 * index + 32] = 255
        centre = f"{(2 * index + 0.5) / 13} {(index + 0.5) / 6.5}"
        (labels / f"{index:03d}.txt").write_text(f"0 {centre} {32 / 416} {32 / 208}\n")
    saved(place / "pictures", *dark)
    saved(place / "calibration", *np.tile(dark, (6, 1, 1, 1))[:32])
    typed("detector", monkeypatch)
    assert "yolox_nano.onnx: metric_detector.py:yolox 100\n" in capsys.readouterr().out


@pytest.mark.slow
def test_a_segmenter(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    graph = """g (float[N,3,257,257] input) => (float[N,21,257,257] output) {
        t = Conv<pads=[1,1,1,1]>(input, w)
        output = Conv(t, v)
    }"""
    nearest = np.zeros((21, 3, 1, 1), np.float32)
    nearest[: len(PALETTE), :, 0, 0] = PALETTE / 127.5 - 1
    blur = np.einsum("nc,hw->nchw", np.eye(3), np.full((3, 3), 1 / 9)).astype(np.float32)
    front.write_model(place / "deeplab.onnx", builders.proto(graph, w=blur, v=nearest))
    pictures, maps = coloured(6, 3, 4)
    for name, images in (("pictures", pictures), ("masks", maps), ("calibration", coloured(64, 3, 4)[0])):
        saved(place / name, *images)
    typed("segmenter", monkeypatch)
    assert "mean_iou" in capsys.readouterr().out


def test_from_tensorflow(place: Path, monkeypatch: pytest.MonkeyPatch):
    proto = classifier("64,64,3", "x0 = Transpose<perm=[0,3,1,2]>(input)")
    front.write_model(place / "keras.onnx", proto)
    saved(place / "photos", *coloured(64, 3, 4)[0])
    typed("tensorflow", monkeypatch)
    before, after = (onnx.load(place / f"keras{ending}.onnx") for ending in ("", ".int8"))
    assert input_shape(before) == input_shape(after) == [0, 64, 64, 3]


def input_shape(proto: onnx.ModelProto) -> list[int]:
    return [axis.dim_value for axis in proto.graph.input[0].type.tensor_type.shape.dim]


def test_on_the_xavier(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    front.write_model(place / "model.onnx", classifier("3,224,224"))
    saved(place / "photos", *coloured(64, 16, 16)[0])

    def fetched() -> None:
        names = [node.name for node in onnx.load(place / "small.onnx").graph.node if node.op_type == "Conv"]
        times = [{"name": name, "averageMs": 0.2, "medianMs": 0.2, "percentage": 30} for name in names]
        (place / "small.profile.json").write_text(json.dumps([{"count": 9}, *times]))
        (place / "small.profile.layers.json").write_text(json.dumps({"Layers": names}))

    typed("xavier", monkeypatch, fetched)
    assert "are from the device" in " ".join(capsys.readouterr().out.split())
    assert (place / "small.html").stat().st_size > 10_000
