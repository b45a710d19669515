from __future__ import annotations

import numpy as np
import onnx
import pytest
from builders import normal, proto, run
from onnx import numpy_helper
from onnx_compress.api import compress
from onnx_compress.compiler.errors import CompressError, UsageError
from onnx_compress.compiler.pipeline.spec import parse_pipeline
from onnx_compress.runtime.training.loop import Loop
from onnx_compress.runtime.training.ort.environment import VARIABLE
from ort_environment import FOLDER
from training_stand_ins import installed

IMAGES = normal(600, 3, 8, 8, seed=7)
OPTIONS = "epochs=3:batch=32:augment=none:rate=5e-3:held_out=0.2"
CRUDE = "basis:rank=2:form=channel:refit=none"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(FOLDER))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "onnx-compress" / "finetune"


@pytest.fixture(params=["ort", "torch"])
def engine(request) -> str:
    if not installed(request.param):
        pytest.skip(f"the engine {request.param} is not installed")
    return request.param


def network() -> onnx.ModelProto:
    return proto(
        """g (float[N,3,8,8] x) => (float[N,10] y) {
            a = Conv<pads=[1,1,1,1]>(x, w1, b1)
            r = Relu(a)
            b = Conv<pads=[1,1,1,1]>(r, w2, b2)
            s = Add(b, r)
            t = Relu(s)
            m = GlobalAveragePool(t)
            f = Flatten(m)
            y = Gemm(f, v, c)
        }""",
        w1=normal(16, 3, 3, 3, seed=1),
        b1=normal(16, seed=2),
        w2=0.2 * normal(16, 16, 3, 3, seed=3),
        b2=normal(16, seed=4),
        v=normal(16, 10, seed=5),
        c=normal(10, seed=6),
    )


def tuned(pipeline: str, **more):
    return compress(network(), pipeline, target="ort", data=IMAGES, samples=64, **more)


def record(result, name="finetune"):
    return next(entry for entry in result.records if entry.name == name)


def weights(result) -> dict[str, np.ndarray]:
    return {constant.name: numpy_helper.to_array(constant) for constant in result.proto.graph.initializer}


def test_weights_in_half_precision_are_no_riddle():
    text = """g (float16[N,3,8,8] x) => (float16[N,5,8,8] y) {
        a = Conv<pads=[1,1,1,1]>(x, w) r = Relu(a) y = Conv<pads=[1,1,1,1]>(r, v) }"""
    half = proto(text, w=normal(4, 3, 3, 3, dtype=np.float16), v=normal(5, 4, 3, 3, dtype=np.float16))
    result = compress(half, f"finetune:{OPTIONS}", target="ort", data=IMAGES.astype(np.float16), samples=64)
    assert "2 weights are float16, and only those in float32 are trained" in " ".join(record(result).result.notes)


@pytest.mark.parametrize("loss", ["distill", "features", "distill+features", "ce", "distill+ce"])
def test_every_loss_falls(engine, loss):
    labels = np.random.default_rng(0).integers(0, 10, len(IMAGES)) if "ce" in loss else None
    result = tuned(f"{CRUDE},finetune:loss={loss}:engine={engine}:threads=1:{OPTIONS}", labels=labels)
    metrics = record(result).result.metrics
    assert metrics["loss_3"] < metrics["loss_1"]
    assert metrics["steps"] == 3 * 14
    assert record(result).result.changed or "ce" in loss


@pytest.mark.parametrize("before", [CRUDE, "codebook:entries=3:refit=none", f"{CRUDE},quantize"])
def test_the_network_comes_nearer_to_the_original(engine, before):
    plain, trained = tuned(before), tuned(f"{before},finetune:engine={engine}:threads=1:{OPTIONS}")
    assert trained.report["quality"]["output_error"] < 0.75 * plain.report["quality"]["output_error"]
    one, two = weights(plain), weights(trained)
    assert {name: (array.dtype, array.shape) for name, array in one.items()} == {
        name: (array.dtype, array.shape) for name, array in two.items()
    }


@pytest.mark.parametrize(
    "before",
    [
        "basis:rank=3",
        "prune:macs=0.6",
        "sbf:rank=4",
        "sbf:rank=4:form=dense",
        "sbf:rank=4:form=plugin",
        "filter-summary:ratio=2",
        "filter-summary:ratio=2:locations=learned",
        "codebook:entries=4",
    ],
)
def test_structure_stays(engine, before):
    plain, trained = tuned(before), tuned(f"{before},finetune:engine={engine}:threads=1:epochs=1:batch=32:rate=1e-4")
    one, two = weights(plain), weights(trained)
    assert [node.op_type for node in plain.proto.graph.node] == [node.op_type for node in trained.proto.graph.node]
    assert {name: array.shape for name, array in one.items()} == {name: array.shape for name, array in two.items()}
    for name, array in one.items():
        assert array.dtype == two[name].dtype
        if array.dtype.kind in "iu":
            assert np.array_equal(array, two[name])
        elif array.ndim > 1 and not array.all():
            assert not two[name][array == 0].any()


def test_templates_of_the_plugin_are_trained(engine):
    before = "sbf:rank=4:form=plugin"
    plain, trained = tuned(before), tuned(f"{before},finetune:engine={engine}:threads=1:{OPTIONS}")
    one, two = weights(plain), weights(trained)
    nodes = [node for node in plain.proto.graph.node if node.op_type == "SpatialBasisConv"]
    assert nodes
    for node in nodes:
        assert all(not np.array_equal(one[name], two[name]) for name in (node.input[1], node.input[2], node.input[4]))


def test_a_layer_can_be_left_as_it_is(engine):
    text = f"codebook:entries=3:refit=none,finetune:engine={engine}:threads=1:epochs=1:batch=32"
    plain, trained = tuned("codebook:entries=3:refit=none"), tuned(text, overrides=["Conv_0:finetune.skip=true"])
    one, two = weights(plain), weights(trained)
    same = {name for name, array in one.items() if np.array_equal(array, two[name])}
    first, second = (node.input[2] for node in plain.proto.graph.node if node.op_type == "Conv")
    assert first in same and second not in same


def test_segments_move(engine):
    before = "filter-summary:ratio=2:locations=learned"
    plain, trained = tuned(before), tuned(f"{before},finetune:engine={engine}:threads=1:{OPTIONS}")
    one, two = weights(plain), weights(trained)
    fractions = [name for name, array in one.items() if array.dtype == np.float32 and array.shape[1:] == (1,)]
    assert fractions
    assert all(np.abs(one[name] - two[name]).max() > 1e-3 for name in fractions)


def test_orthogonal_filters_stay_nearly_orthogonal(engine):
    def skew(pipeline: str) -> float:
        filters = next(array for name, array in weights(tuned(pipeline)).items() if name.endswith("basis.weight"))
        rows = filters.reshape(len(filters), -1)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return float(((rows @ rows.T - np.eye(len(rows))) ** 2).sum())

    free = skew(f"basis:rank=3:form=channel,finetune:engine={engine}:threads=1:{OPTIONS}")
    held = skew(f"basis:rank=3:form=channel,finetune:engine={engine}:threads=1:{OPTIONS}:ortho=1")
    assert held < free


def test_without_samples_there_is_nothing_to_train_on():
    with pytest.raises(CompressError, match="needs samples"):
        compress(network(), "finetune", target="ort")


def test_labels_are_asked_for():
    with pytest.raises(CompressError, match="loss=ce needs labels"):
        tuned("finetune:loss=ce")


@pytest.mark.parametrize(
    "text",
    ["finetune:loss=distil", "finetune:epochs=0", "finetune:held_out=1.5", "finetune:loss=ce:augment=flip-crop-mix"],
)
def test_options_that_cannot_be(text):
    with pytest.raises(UsageError):
        parse_pipeline(text)


def test_an_engine_that_is_not_installed_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(CompressError, match="train-env create"):
        tuned(f"finetune:engine=ort:{OPTIONS}")


class Killed(Exception):
    pass


def stopping(after: int, taken: list[int]):
    step = Loop._step

    def counted(self, *arguments):
        taken.append(1)
        if len(taken) > after:
            raise Killed
        return step(self, *arguments)

    return counted


def test_an_interrupted_run_goes_on(engine, cache, monkeypatch):
    text = f"basis:rank=3,finetune:engine={engine}:threads=1:epochs=3:batch=32:rate=1e-3"
    whole = tuned(text)
    assert not list(cache.glob("*"))
    with monkeypatch.context() as patch, pytest.raises(CompressError, match="Killed"):
        patch.setattr(Loop, "_step", stopping(25, []))
        tuned(text)
    assert len(list(cache.glob("*"))) == 1
    taken: list[int] = []
    monkeypatch.setattr(Loop, "_step", stopping(1000, taken))
    resumed = tuned(text)
    assert len(taken) == record(whole).result.metrics["steps"] - 17
    assert not list(cache.glob("*"))
    for name, array in weights(whole).items():
        np.testing.assert_allclose(weights(resumed)[name], array, rtol=1e-5, atol=1e-6)


def test_class_numbers_teach_nothing(engine):
    numbers = network()
    numbers.graph.node.append(onnx.helper.make_node("ArgMax", ["y"], ["n"], axis=1, keepdims=0))
    del numbers.graph.output[:]
    numbers.graph.output.append(onnx.helper.make_tensor_value_info("n", onnx.TensorProto.INT64, ["N"]))
    with pytest.raises(CompressError, match="no output is in floating point"):
        compress(numbers, f"{CRUDE},finetune:engine={engine}:{OPTIONS}", target="ort", data=IMAGES, samples=64)


def test_of_a_map_the_best_epoch_is_that_of_most_pixels(engine):
    text = """g (float[N,3,8,8] x) => (float[N,6,8,8] y) {
        a = Conv<pads=[1,1,1,1]>(x, w) r = Relu(a) y = Conv<pads=[1,1,1,1]>(r, v) }"""
    model = proto(text, w=normal(16, 3, 3, 3), v=normal(6, 16, 3, 3, seed=1))
    options = f"{CRUDE},finetune:engine={engine}:threads=1:{OPTIONS}"
    metrics = record(compress(model, options, target="ort", data=IMAGES, samples=64)).result.metrics
    epochs = [(metrics[f"pixels_{number}"], -metrics[f"error_{number}"]) for number in (1, 2, 3)]
    assert (metrics["pixels"], -metrics["error"]) == max(epochs)


def test_a_metric_of_the_users_chooses_the_epoch(engine):
    """One that every step of training makes worse: what went in is kept."""
    before = weights(tuned(CRUDE))

    def near(predict) -> float:
        return -float(np.abs(predict({"x": IMAGES[:1]})["y"] - first).sum())

    first = predicted(tuned(CRUDE).proto)
    result = tuned(f"{CRUDE},finetune:engine={engine}:threads=1:{OPTIONS}", metric=near)
    assert not record(result).result.changed
    assert record(result).result.metrics["near()"] == pytest.approx(0, abs=1e-3)
    assert all(np.array_equal(value, before[name]) for name, value in weights(result).items())


def predicted(model: onnx.ModelProto) -> np.ndarray:
    return run(model, x=IMAGES[:1])["y"]
