from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import builders
import front
import numpy as np
import pytest
from onnx_compress.compiler.errors import CompressError, UsageError
from onnx_compress.compiler.pipeline.data import Feeds
from onnx_compress.runtime.data import Input, Samples, class_count, load_data, sample_bytes
from onnx_compress.runtime.preprocess import PRESETS, parse_preprocess
from onnx_compress.runtime.subsets import Slice
from PIL import Image

FLOAT = np.dtype(np.float32)
X = Input("x", FLOAT, (None, 3, 8, 8))


def first(data: Samples, size: int = 100) -> np.ndarray:
    return next(iter(data.batches(size)))["x"]


def test_images_are_preprocessed_in_the_layout_of_the_model(tmp_path: Path):
    np.savez(tmp_path / "d.npz", images=front.images(5), labels=np.arange(5))
    data = load_data(tmp_path / "d.npz", [X], PRESETS["cifar10"], None, classes=7)
    expected = PRESETS["cifar10"].values(front.images(5)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(first(data), expected)
    assert data.labels is not None and data.labels.tolist() == [0, 1, 2, 3, 4]


def test_channels_last_models_get_channels_last():
    data = load_data(front.images(2), [Input("x", FLOAT, (None, 8, 8, 3))], PRESETS["unit"])
    assert first(data).shape == (2, 8, 8, 3)


def test_integer_models_get_the_pixels():
    data = load_data(front.images(2), [Input("x", np.dtype(np.uint8), (None, 3, 8, 8))])
    np.testing.assert_array_equal(first(data), front.images(2).transpose(0, 3, 1, 2))
    assert data.notes == ()


@pytest.mark.parametrize("shape", [(None, 3, 8, 8), (None, 3, None, None)])
def test_integer_models_take_what_lies_as_their_input(shape):
    values = front.images(2).transpose(0, 3, 1, 2)
    data = load_data(values, [Input("x", np.dtype(np.uint8), shape)])
    np.testing.assert_array_equal(first(data), values)


def test_float_arrays_go_in_as_they_are():
    values = np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)
    data = load_data({"anything": values}, [X], PRESETS["imagenet"])
    np.testing.assert_array_equal(first(data), values)
    assert any("go in as they are" in note for note in data.notes)


def test_batches_are_the_same_every_time():
    data = load_data(front.images(10), [X], samples=7)
    sizes = [len(batch["x"]) for batch in data.batches(3)]
    assert sizes == [3, 3, 1] == [len(batch["x"]) for batch in data.batches(3)]


def test_fixed_batch_models_get_whole_batches():
    data = load_data(front.images(10), [Input("x", FLOAT, (4, 3, 8, 8))])
    assert [len(batch["x"]) for batch in data.batches(100)] == [4, 4]
    assert data.samples == 8 and "8 of 10" in " ".join(data.notes)
    with pytest.raises(CompressError, match="batches of 4, found 3"):
        load_data(front.images(3), [Input("x", FLOAT, (4, 3, 8, 8))])


def test_unnamed_preprocess_is_noted():
    assert "divided by 255" in load_data(front.images(2), [X]).notes[0]


def test_raw_pixels_as_floats_are_noted():
    values = front.images(2).transpose(0, 3, 1, 2).astype(np.float32)
    assert "look like raw pixels" in load_data(values, [X]).notes[0]


def test_raw_pixels_of_16_bits_are_noted():
    values = front.images(2).transpose(0, 3, 1, 2).astype(np.uint16) * 257
    assert "look like raw pixels of 16 bits" in load_data(values, [X]).notes[0]


def test_samples_that_are_all_equal_are_noted():
    for values in (np.zeros((4, 3, 8, 8), np.float32), np.full((4, 8, 8, 3), 7, np.uint8)):
        assert any("all 4 samples are equal" in note for note in load_data(values, [X]).notes)
    assert not any("equal" in note for note in load_data(front.images(4), [X]).notes)


def test_values_that_the_type_of_the_model_cannot_hold():
    with pytest.raises(CompressError, match="values that float32 cannot hold"):
        load_data(np.full((2, 3, 8, 8), 1e300), [X])


def test_digest_depends_on_values_and_preprocess():
    digests = {
        load_data(front.images(3), [X], PRESETS["unit"]).digest,
        load_data(front.images(3), [X], PRESETS["cifar10"]).digest,
        load_data(front.images(3, seed=1), [X], PRESETS["unit"]).digest,
    }
    assert len(digests) == 3
    assert load_data(front.images(4), [X], PRESETS["unit"], 3).digest in digests


def test_an_array_of_the_archive_can_be_chosen(tmp_path: Path):
    np.savez(tmp_path / "d.npz", images=front.images(5), other=front.images(3, seed=1), labels=np.zeros(5, int))
    data = load_data(f"{tmp_path}/d.npz#other", [X])
    assert data.samples == 3 and data.labels is None
    with pytest.raises(UsageError, match="did you mean 'other'"):
        load_data(f"{tmp_path}/d.npz#othe", [X])


def test_npy(tmp_path: Path):
    np.save(tmp_path / "d.npy", front.images(3))
    assert load_data(tmp_path / "d.npy", [X]).samples == 3


def test_several_inputs_go_by_name():
    z = Input("z", FLOAT, (None, 2))
    arrays = {"x": np.zeros((3, 3, 8, 8), np.float32), "z": np.ones((3, 2), np.float32)}
    assert set(next(load_data(arrays, [X, z]).batches(3))) == {"x", "z"}
    with pytest.raises(CompressError, match="expected arrays for the inputs x, z, found x"):
        load_data({"x": arrays["x"]}, [X, z])
    with pytest.raises(CompressError, match="differ in their number of samples: x 3, z 2"):
        load_data({**arrays, "z": arrays["z"][:2]}, [X, z])


def test_image_folders(tmp_path: Path):
    for name in ("b/1.png", "a/2.png", "a/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((10, 16, 3), ord(name[0]) + int(name[2]), np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    data = load_data(tmp_path, [X], parse_preprocess("size=9:crop=8"), labels="folders", classes=2)
    np.testing.assert_allclose(first(data)[:, 0, 0, 0] * 255, [98, 99, 99], rtol=1e-5)
    assert data.labels is not None and data.labels.tolist() == [0, 0, 1]


def test_images_of_several_sizes_need_a_crop(tmp_path: Path):
    for index, side in enumerate((8, 9)):
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(tmp_path / f"{index}.png")
    with pytest.raises(CompressError, match=r"1\.png: images differ in size: found 9 x 9 x 3"):
        load_data(tmp_path, [X])
    assert load_data(tmp_path, [X], parse_preprocess("crop=8")).samples == 2


@pytest.mark.parametrize(
    ("spec", "written_out", "corner"),
    [
        ("yolox", "mean=0.0:std=1.0:scale=1.0:size=6x8:bgr:letterbox", [30, 20, 10]),
        ("letterbox=centre:scale=1", "mean=0.0:std=1.0:scale=1.0:size=6x8:letterbox=centre", [114, 114, 114]),
        ("none:resize", "mean=0.0:std=1.0:scale=1.0:size=6x8:resize", [10, 20, 30]),
    ],
)
def test_images_take_the_size_of_the_network(tmp_path: Path, spec: str, written_out: str, corner: list[int]):
    image = np.full((10, 10, 3), (10, 20, 30), np.uint8)
    Image.fromarray(image).save(tmp_path / "1.png")
    Image.fromarray(image[:7]).save(tmp_path / "2.png")
    for target in (Input("x", FLOAT, (None, 3, 6, 8)), Input("x", FLOAT, (1, 6, 8, 3))):
        for source in (tmp_path, {"images": image[None]}):
            data = load_data(source, [target], parse_preprocess(spec))
            pixels = first(data, 1)[0]
            assert (pixels[:, 0, 0] if target.channels_first else pixels[0, 0]).tolist() == corner
            assert str(data.preprocess) == written_out


def test_each_input_has_its_own_size():
    inputs = [Input(name, FLOAT, (None, 3, size, size)) for name, size in (("x", 4), ("y", 6))]
    data = load_data({"x": front.images(2), "y": front.images(2)}, inputs, parse_preprocess("resize"))
    assert [rows[:1].shape for rows in data.rows.values()] == [(1, 3, 4, 4), (1, 3, 6, 6)]


def test_an_open_size_is_asked_for(tmp_path: Path):
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "1.png")
    for source in (tmp_path, front.images(2)):
        with pytest.raises(UsageError, match="letterbox needs a size, the network leaves its own open"):
            load_data(source, [Input("x", FLOAT, (None, 3, None, 8))], parse_preprocess("letterbox"))
    values = np.zeros((2, 3, 8, 8), np.float32)
    assert load_data(values, [Input("x", FLOAT, (None, 3, None, None))], parse_preprocess("letterbox")).samples == 2


def test_what_is_no_image_is_not_resized():
    mask = Input("mask", np.dtype(np.uint8), (None, 8, 8))
    values = np.arange(128, dtype=np.uint8).reshape(2, 8, 8)
    data = load_data({"x": front.images(2), "mask": values}, [X, mask], parse_preprocess("size=9:crop=8"))
    np.testing.assert_array_equal(next(iter(data.batches(2)))["mask"], values)


def test_bgr_is_for_colours():
    with pytest.raises(UsageError, match="bgr is for colours, images have 1 channels"):
        load_data(front.images(2)[..., :1], [Input("x", FLOAT, (None, 1, 8, 8))], parse_preprocess("bgr"))


def test_inputs_of_integers_take_no_fractions():
    eight_bits, unsigned = (Input("x", np.dtype(kind), (None, 3, 8, 8)) for kind in (np.int8, np.uint8))
    values = first(load_data(front.images(2), [eight_bits], parse_preprocess("scale=1:mean=128")))
    np.testing.assert_array_equal(values, (front.images(2).astype(int) - 128).transpose(0, 3, 1, 2))
    for spec, found in (("unit", "0 to 1"), ("none", "0 to 255")):
        with pytest.raises(CompressError, match=f"pixels become {found}, which int8 cannot hold"):
            load_data(front.images(2), [eight_bits], parse_preprocess(spec))
    data = load_data(front.images(2), [unsigned], parse_preprocess("cifar10:bgr"))
    assert "without mean, std and scale" in " ".join(data.notes)
    np.testing.assert_array_equal(first(data), front.images(2)[..., ::-1].transpose(0, 3, 1, 2))


def test_a_broken_image_is_named(tmp_path: Path):
    (tmp_path / "x.png").write_bytes(b"no png")
    with pytest.raises(CompressError, match=r"x\.png: not an image, but a text file"):
        load_data(tmp_path, [X])


def test_an_image_that_unpacks_to_gigapixels_is_refused(tmp_path: Path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "x.png")
    with pytest.raises(CompressError, match=r"x\.png: not a readable image"):
        load_data(tmp_path, [X])


LOADER = """
import numpy as np
def arrays():
    while True:
        yield np.zeros((4, 3, 8, 8), np.float32)
def named():
    yield {"x": np.zeros((4, 3, 8, 8), np.float32), "labels": np.arange(4)}
def ragged():
    yield np.zeros((1, 3, 8, 8), np.float32)
    yield np.zeros((1, 3, 9, 9), np.float32)
def nothing():
    return iter(())
def no_batches():
    return None
def text():
    return "batches"
def no_array():
    yield None
def pairs():
    yield np.zeros((4, 3, 8, 8), np.float32), np.arange(4)
def uneven():
    yield [np.zeros((3, 8, 8)), np.zeros((3, 9, 9))]
def single():
    yield 1.0
def fails():
    yield np.zeros((1, 3, 8, 8), np.float32)
    raise KeyError("image")
def stops():
    raise SystemExit(0)
def ends():
    yield np.zeros((1, 3, 8, 8), np.float32)
    import sys
    sys.exit(0)
def whole():
    return np.zeros((4, 3, 8, 8), np.float32)
def whole_named():
    return {"x": np.zeros((4, 3, 8, 8), np.float32), "labels": np.arange(4)}
def one_buffer():
    buffer = np.zeros((1, 3, 8, 8), np.float32)
    for number in range(3):
        buffer[:] = number
        yield buffer
needs_argument = lambda x: x
def ranks():
    yield np.zeros((1, 3, 8, 8), np.float32)
    yield np.zeros((1, 3, 8), np.float32)
def labels():
    for width in (1, 2):
        yield {"x": np.zeros((1, 3, 8, 8), np.float32), "labels": np.zeros((1, width))}
"""


@pytest.fixture
def loader(tmp_path: Path) -> str:
    (tmp_path / "loader.py").write_text(LOADER)
    return f"{tmp_path}/loader.py"


def test_functions_yield_batches(loader: str):
    assert load_data(f"{loader}:arrays", [X], samples=10).samples == 10
    data = load_data(f"{loader}:named", [X], samples=10)
    assert data.samples == 4 and data.labels is not None


OPEN = Input("x", FLOAT, (None, 3, 8, None))
WIDTHS = (8, 8, 12, 8, 16)


def lines(kind: type = np.uint8) -> Iterator[dict[str, np.ndarray]]:
    """Three lines of text of each width in turn; label: the number of the sample."""
    for index, width in enumerate(WIDTHS):
        values = np.random.default_rng(index).integers(0, 256, (3, 8, width, 3)).astype(kind)
        labels = np.arange(3 * index, 3 * index + 3)
        yield {"x": values if kind == np.uint8 else values.transpose(0, 3, 1, 2), "labels": labels}


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_batches_of_several_shapes(kind: type):
    data = load_data(lambda: lines(kind), [OPEN], PRESETS["none"] if kind == np.uint8 else None)
    assert data.shapes is not None and data.shapes.tolist() == [0] * 6 + [1] * 3 + [0] * 3 + [2] * 3
    assert [batch["x"].shape for batch in data.batches(4)] == [
        *((4, 3, 8, 8), (2, 3, 8, 8), (3, 3, 8, 12)),
        *((3, 3, 8, 8), (3, 3, 8, 16)),
    ]
    given = [row for batch in lines(np.float32) for row in batch["x"]]
    for index, batch in enumerate(data.batches(1)):
        np.testing.assert_array_equal(batch["x"][0], given[index])
        assert batch["x"].dtype == np.float32
    np.testing.assert_array_equal(data.take(np.array([1, 10, 2]))["x"], np.stack([given[row] for row in (1, 10, 2)]))
    assert data.labels is not None and data.labels.tolist() == list(range(15))
    assert "samples have 3 shapes" in data.notes[-1]


def test_the_digest_of_several_shapes_depends_on_all():
    datas = [load_data(lines, [OPEN], PRESETS["none"], samples) for samples in (14, 15, 15)]
    one, two, again = (data.digest for data in datas)
    assert one != two == again
    assert load_data(lines, [OPEN], PRESETS["unit"]).digest != two
    assert load_data(lines, [OPEN], samples=6).shapes is None


def test_several_shapes_are_resized_to_one():
    data = load_data(lines, [X], parse_preprocess("none:resize"))
    assert data.shapes is None and [len(batch["x"]) for batch in data.batches(10)] == [10, 5]
    assert len(data.take(np.arange(15))["x"]) == 15


def test_the_largest_of_several_shapes_counts():
    assert sample_bytes(load_data(lines, [OPEN])) == 4 * 3 * 8 * 16


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((None, 3, 8, 8), r"expected float32 \(\?, 3, 8, 8\), found images \(N, 3, 8, 12\)"),
        ((3, 3, 8, None), "samples have several shapes, the model takes batches of 3"),
        ((None, 1, 8, None), "with 3 channels last"),
    ],
)
def test_several_shapes_that_the_model_does_not_take(shape: tuple[int | None, ...], words: str):
    with pytest.raises(CompressError, match=words):
        load_data(lines, [Input("x", FLOAT, shape)])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ragged", r"expected float32 \(\?, 3, 8, 8\), found float32 \(N, 3, 9, 9\)"),
        ("ranks", r"batches of 'data' do not fit together: \(1, 3, 8, 8\), \(1, 3, 8\)"),
        ("labels", "labels differ in shape .one number per sample"),
        ("nothing", "holds no samples"),
        ("array", "did you mean 'arrays'"),
        ("no_batches", "loader.py:no_batches: expected batches, found NoneType"),
        ("text", "expected batches, found str"),
        ("no_array", "batch 1: expected an array of samples, found NoneType"),
        ("pairs", "batch 1: expected an array, found a tuple .*labels"),
        ("uneven", "batch 1: expected an array, found list"),
        ("single", "batch 1: expected an array of samples, found float"),
        ("fails", r"the loader fails in line 27 of loader\.py: KeyError\('image'\)"),
        ("stops", r"in line 29 of loader\.py: it ends the program, by sys\.exit\(0\)"),
        ("ends", r"in line 33 of loader\.py: it ends the program, by sys\.exit\(0\)"),
        ("needs_argument", "the loader fails.*missing 1 required positional argument"),
    ],
)
def test_bad_functions(loader: str, name: str, words: str):
    with pytest.raises(CompressError, match=words):
        load_data(f"{loader}:{name}", [X])


@pytest.mark.parametrize("name", ["whole", "whole_named"])
def test_what_a_function_returns_may_be_one_batch(loader: str, name: str):
    assert load_data(f"{loader}:{name}", [X]).samples == 4


def test_a_buffer_that_is_filled_again_is_copied(loader: str):
    assert first(load_data(f"{loader}:one_buffer", [X]))[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_a_loader_without_end_is_stopped_by_memory(loader: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onnx_compress.runtime.sources.installed", lambda: 100_000)
    with pytest.raises(CompressError, match=r"more than half of the memory .*does the loader ever end"):
        load_data(f"{loader}:arrays", [X], samples=None)


@pytest.mark.parametrize("content", ["import sys\nsys.exit(0)", "raise SystemExit", "1 / 0", "import no_such_package"])
def test_a_loader_that_fails_on_import(tmp_path: Path, content: str):
    (tmp_path / "loader.py").write_text(content)
    with pytest.raises(UsageError, match=r"the loader fails on import in line \d of loader\.py"):
        load_data(f"{tmp_path}/loader.py:f", [X])


def test_missing_module():
    with pytest.raises(UsageError, match="cannot import 'no_such_module'"):
        load_data("no_such_module:f", [X])


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((0, 3, 8, 8), np.float32), "holds no samples"),
        (np.zeros((2, 8, 8, 3), np.float32), r"expected float32 .*\(N, 8, 8, 3\) .*transpose\(0, 3, 1, 2\)"),
        (np.zeros((3, 8, 8), np.float32), r"found float32 \(N, 8, 8\)"),
        (np.zeros((2, 9, 8, 3), np.uint8), r"found images \(N, 3, 9, 8\)"),
        (np.zeros((2, 3, 8, 8), np.uint8), "with 8 channels last"),
        (np.zeros((2, 8, 8), np.uint8), "with 1 channels last"),
        (np.zeros((2, 8), np.uint8), r"found uint8 \(N, 8\)"),
        (np.full((2, 3, 8, 8), np.nan, np.float32), "NaN or infinite"),
        (np.full((2, 3, 8, 8), np.inf, np.float32), "NaN or infinite"),
        (np.zeros((2, 3, 8, 8), np.complex64), "found complex64"),
        (np.float32(1), "a single number"),
    ],
)
def test_data_that_cannot_be_the_input(array: np.ndarray, words: str):
    with pytest.raises(CompressError, match=words):
        load_data({"x": array}, [X])


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([0, 7]), "expected labels 0 to 6, found 0 to 7"),
        (np.array([-1, 0]), "expected labels 0 to 6, found -1 to 0"),
        (np.array([0.0, 1.0]), "must be integers, found float64"),
        (np.array([True, False]), "must be integers, found bool"),
        (np.array(["0", "1"]), "must be integers, found text"),
        (np.array([1, 7]), "expected labels 0 to 6, found 1 to 7"),
        (np.array(1), r"expected 2 labels, found \(\)"),
        (np.array([0, 1, 2]), r"expected 2 labels, found \(3\)"),
        (np.zeros((2, 7), int), r"expected 2 labels, found \(2, 7\) .*argmax"),
    ],
)
def test_labels_that_cannot_be_classes(labels: np.ndarray, words: str):
    with pytest.raises(CompressError, match=words):
        load_data({"images": front.images(2), "labels": labels}, [X], classes=7)
    for given in (labels, labels.tolist()):
        with pytest.raises(CompressError, match=words.replace("found float64", "found float")):
            load_data(front.images(2), [X], labels=given, classes=7)


def test_labels_that_no_network_has():
    with pytest.raises(CompressError, match="expected labels 0 to 2147483647"):
        load_data(front.images(1), [X], labels=np.array([2**63], np.uint64))


@pytest.mark.parametrize(
    ("output", "tail", "expected"),
    [
        ("float[N,7] y", "f = Flatten(p) y = Gemm<transB=1>(f, v)", 7),
        ("float[N,C] y", "f = Flatten(p) y = Gemm<transB=1>(f, v)", 7),
        ("float[N,16,1,1] y", "y = Identity(p)", 16),
        ("float[N,C,H,W] y", "y = Identity(p)", 16),
        ("float[N,C,H,W] y", "y = Identity(r)", None),
    ],
)
def test_classes_are_counted_where_they_are_not_declared(output: str, tail: str, expected: int | None):
    graph = f"g (float[N,3,8,8] x) => ({output}) {{ r = Conv(x, w) p = GlobalAveragePool(r) {tail} }}"
    model = builders.model(graph, w=builders.normal(16, 3, 3, 3), v=builders.normal(7, 16))
    assert class_count(model.graph) == expected


def test_labels_by_key():
    arrays = {"images": front.images(2), "truth": np.array([[1], [2]], np.uint8)}
    data = load_data(arrays, [X], labels="truth")
    assert data.labels is not None and data.labels.tolist() == [1, 2]
    with pytest.raises(UsageError, match="did you mean 'truth'"):
        load_data(arrays, [X], labels="truths")


def test_nothing_is_unpickled(tmp_path: Path):
    np.savez(tmp_path / "d.npz", images=np.array([{}], object))
    with pytest.raises(CompressError, match="never unpickled"):
        load_data(tmp_path / "d.npz", [X])


def test_an_archive_that_would_fill_the_memory_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    np.savez_compressed(tmp_path / "d.npz", images=np.zeros((1000, 8, 8, 3), np.uint8), other=np.zeros(4))
    monkeypatch.setattr("onnx_compress.runtime.sources.installed", lambda: 300_000)
    with pytest.raises(CompressError, match=r"'images' unpacks to 192 kB, more than half .* as .npy"):
        load_data(tmp_path / "d.npz", [X])


@pytest.mark.parametrize("kept", [0.3, 0.9])
@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_data_that_end_early(tmp_path: Path, suffix: str, kept: float):
    path = tmp_path / f"d.{suffix}"
    images = np.random.default_rng(0).integers(0, 255, (20, 8, 8, 3), np.uint8)
    np.savez(path, images=images) if suffix == "npz" else np.save(path, images)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(CompressError, match="cannot be read"):
        load_data(path, [X])


def test_what_is_no_data(tmp_path: Path):
    (tmp_path / "broken.npz").write_bytes(b"PK")
    (tmp_path / "text.txt").write_text("")
    (tmp_path / "empty").mkdir()
    for name, words in (
        ("broken.npz", "a text file"),
        ("text.txt", "not a kind of data"),
        ("missing", "no such data"),
        ("https://example.com/d.npz", "is an address"),
        ("empty", "no images"),
    ):
        with pytest.raises(CompressError, match=words):
            load_data(name if "//" in name else tmp_path / name, [X])


def test_mean_of_the_wrong_length():
    with pytest.raises(CompressError, match="one value per channel"):
        load_data(front.images(2)[..., :1], [Input("x", FLOAT, (None, 1, 8, 8))], PRESETS["cifar10"])


def test_a_slice_holds_some_samples_of_other_data_whatever_the_batch_size() -> None:
    @dataclass(frozen=True)
    class Numbers(builders.Unlabelled):
        samples: int = 10

        def batches(self, size: int) -> Iterator[Feeds]:
            for start in range(0, 10, size):
                yield {"x": np.arange(start, min(start + size, 10))}

    part = Slice(Numbers(), 3, 8)
    assert part.samples == 5
    for size in (1, 2, 4, 100):
        assert np.concatenate([batch["x"] for batch in part.batches(size)]).tolist() == [3, 4, 5, 6, 7]
