"""`finetune` on a few hundred samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from builders import normal, proto
from onnx import numpy_helper
from onnx_compress.api import compress
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.spec import parse_pipeline
from onnx_compress.passes.finetuning.options import EPOCHS, FEWER, STEPS, FinetuneOptions
from onnx_compress.runtime.training.plan import Plan
from training_stand_ins import installed

torch = pytest.mark.skipif(not installed("torch"), reason="PyTorch is not installed")
IMAGES = normal(200, 3, 8, 8, seed=7)
CRUDE = "basis:rank=2:form=channel:refit=none"
LATER = ["Conv_0:basis.skip=true"]
SHORT = "finetune:few:batch=16:held_out=0.2:threads=1:optimizer=adamw:rate=1e-2"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def detector() -> onnx.ModelProto:
    """Two outputs, of boxes and of a mask, behind a residual block and a Concat."""
    return proto(
        """g (float[N,3,8,8] x) => (float[N,4,8,8] boxes, float[N,2,8,8] mask) {
            a = Conv<pads=[1,1,1,1]>(x, w0)
            r = Relu(a)
            b = Conv<pads=[1,1,1,1]>(r, w1)
            s = Add(b, r)
            t = Relu(s)
            c = Conv<pads=[1,1,1,1]>(t, w2)
            d = Conv<pads=[1,1,1,1]>(t, w3)
            e = Concat<axis=1>(c, d)
            f = Relu(e)
            boxes = Conv(f, w4)
            z = Conv(f, w5)
            mask = Sigmoid(z)
        }""",
        w0=0.3 * normal(12, 3, 3, 3, seed=1),
        w1=0.1 * normal(12, 12, 3, 3, seed=2),
        w2=0.1 * normal(8, 12, 3, 3, seed=3),
        w3=0.1 * normal(8, 12, 3, 3, seed=4),
        w4=0.3 * normal(4, 16, 1, 1, seed=5),
        w5=0.3 * normal(2, 16, 1, 1, seed=6),
    )


def tuned(pipeline: str, **more: Any):
    return compress(detector(), pipeline, target="ort", data=IMAGES, samples=64, **more)


def outcome(result) -> PassResult:
    return next(entry.result for entry in result.records if entry.name == "finetune")


def weights(result) -> dict[str, np.ndarray]:
    return {constant.name: numpy_helper.to_array(constant) for constant in result.proto.graph.initializer}


def options(text: str) -> FinetuneOptions:
    (found,) = parse_pipeline(text)
    assert isinstance(found, FinetuneOptions)
    return found


@pytest.mark.parametrize(
    ("text", "samples", "few"),
    [
        ("finetune", FEWER, True),
        ("finetune", FEWER + 1, False),
        ("finetune:epochs=2", 100, False),
        ("finetune:few:epochs=2", 100, True),
        ("finetune:few=false", 100, False),
        ("finetune:few", 50_000, True),
        ("finetune:minutes=3", 100, True),
    ],
)
def test_the_number_of_samples_chooses_what_is_not_given(text: str, samples: int, few: bool) -> None:
    found = options(text).chosen(samples)
    assert found.few is few
    assert (found.loss, found.batch) == (("distill+features", 32) if few else ("distill", 128))
    assert (found.optimizer, found.rate) == (("adamw", 1.5e-4) if few else ("scaled", 1e-3))
    assert found.augment == ("flip-crop-mix" if few else "flip-crop")
    assert str(parse_pipeline(str(found))[0]) == str(found), "can be typed"


def test_how_long() -> None:
    assert options("finetune").chosen(100).steps == STEPS
    many = options("finetune").chosen(50_000)
    assert (many.steps, many.epochs) == (None, EPOCHS)
    timed = options("finetune:minutes=2").chosen(50_000)
    assert timed.steps is timed.epochs is None


def test_what_is_given_stays() -> None:
    given = options("finetune:few:optimizer=sgd:batch=7:augment=none:loss=distill:steps=3").chosen(100)
    assert (given.optimizer, given.batch, given.augment, given.loss, given.steps) == ("sgd", 7, "none", "distill", 3)
    assert given.rate == 1e-2, "of that optimiser"
    assert options("finetune:few:loss=ce").chosen(100).augment == "flip-crop", "a mixture has no label"


def test_steps_and_epochs_are_one_too_many() -> None:
    with pytest.raises(Exception, match="give one of them"):
        parse_pipeline("finetune:steps=3:epochs=1")


@torch
def test_boxes_and_a_mask_come_nearer_to_the_original() -> None:
    plain, trained = tuned(CRUDE), tuned(f"{CRUDE},{SHORT}:steps=40")
    assert outcome(trained).metrics["steps"] == 40
    assert trained.report["quality"]["output_error"] < 0.85 * plain.report["quality"]["output_error"]


@torch
def test_a_network_of_one_sample_learns_from_as_many_in_a_step() -> None:
    single = detector()
    single.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    for output in single.graph.output:
        output.type.tensor_type.shape.dim[0].dim_value = 1
    given: dict[str, Any] = {"target": "ort", "data": IMAGES, "samples": 64}
    result, free = compress(single, f"{CRUDE},{SHORT}:steps=4", **given), tuned(f"{CRUDE},{SHORT}:steps=4")
    assert outcome(result).metrics["loss_1"] == pytest.approx(outcome(free).metrics["loss_1"], rel=0.1)


@torch
def test_the_same_steps_give_the_same_bytes() -> None:
    one, two = (tuned(f"{CRUDE},{SHORT}:steps=7") for _ in range(2))
    assert outcome(one).changed
    assert one.proto.SerializeToString() == two.proto.SerializeToString()
    other = tuned(f"{CRUDE},{SHORT}:steps=7", seed=1)
    assert other.proto.SerializeToString() != one.proto.SerializeToString()


@torch
def test_what_is_the_original_still_has_nothing_to_learn() -> None:
    result = tuned(SHORT)
    assert not outcome(result).changed and "nothing to learn" in " ".join(outcome(result).notes)


@torch
def test_layers_in_front_of_the_first_change_rest() -> None:
    plain = tuned(CRUDE, overrides=LATER)
    trained = tuned(f"{CRUDE},{SHORT}:steps=40", overrides=LATER)
    one, two = weights(plain), weights(trained)
    same = {name for name in one if np.array_equal(one[name], two[name])}
    first = next(node.input[1] for node in plain.proto.graph.node if node.op_type == "Conv")
    assert first in same and outcome(trained).changed
    assert "1 layers in front" in " ".join(outcome(trained).notes)
    assert trained.report["quality"]["output_error"] < 0.85 * plain.report["quality"]["output_error"]


@torch
def test_never_worse_than_what_went_in() -> None:
    plain, spoiled = tuned(CRUDE), tuned(f"{CRUDE},finetune:few:batch=16:held_out=0.2:threads=1:rate=10:steps=4")
    assert not outcome(spoiled).changed
    assert plain.proto.SerializeToString() == spoiled.proto.SerializeToString()


@torch
def test_minutes_become_steps_that_can_be_repeated(monkeypatch) -> None:
    monkeypatch.setattr("onnx_compress.passes.finetuning.length.plan_steps", lambda *arguments: Plan(6, 0.5))
    result = tuned(f"{CRUDE},{SHORT}:minutes=9")
    assert "6 steps of 0.5 s fit into 9 minutes: steps=6 repeats the run" in outcome(result).notes
    again = tuned(f"{CRUDE},{SHORT}:steps=6")
    assert again.proto.SerializeToString() == result.proto.SerializeToString()
