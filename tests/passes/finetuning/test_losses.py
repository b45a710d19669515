from __future__ import annotations

import numpy as np
import onnx
import pytest
from builders import normal
from onnx import TensorProto, helper
from onnx_compress.passes.finetuning import losses
from onnx_compress.runtime.session import Session


def computed(text: str, **inputs: np.ndarray) -> float:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in inputs.items()]
    result = helper.make_tensor_value_info("loss", TensorProto.FLOAT, [])
    graph = helper.make_graph(losses.nodes(text), "g", values, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return float(Session(model, threads=1).run(inputs)["loss"])


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 1, 1)])
def test_softened_is_the_divergence_of_softened_classes(shape, temperature):
    s, t = 3 * normal(*shape), 3 * normal(*shape, seed=1)
    p, q = softmax(t / temperature), softmax(s / temperature)
    expected = temperature**2 * (p * np.log(p / q)).sum() / shape[0]
    assert computed(losses.softened("s", "t", "loss", shape[1], temperature), s=s, t=t) == pytest.approx(expected, 1e-4)
    assert computed(losses.softened("s", "t", "loss", shape[1], temperature), s=t, t=t) == pytest.approx(0, abs=1e-5)


def test_relative_is_the_share_of_energy_that_is_lost():
    s, t = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    expected = ((s - t) ** 2).mean() / (t**2).mean()
    assert computed(losses.relative("s", "t", "loss"), s=s, t=t) == pytest.approx(expected, 1e-5)
    assert computed(losses.relative("s", "t", "loss"), s=s * 0, t=t * 0) == 0


@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 4), 1), ((2, 5, 3), 2), ((2, 3, 4, 5), 1), ((6,), None)])
def test_by_channel_is_held_against_what_each_channel_moves(shape, axis):
    s, t = normal(*shape), 3 * normal(*shape, seed=1) + 1
    scale = np.float32([1e-5, 2, 3e4] if axis else [0.5])
    others = tuple(each for each in range(len(shape)) if each != axis)
    expected = (((s - t) ** 2).mean(others) / (t.var(others) + scale)).mean()
    broadcast = scale.reshape([-1 if each == axis else 1 for each in range(len(shape))])
    assert computed(losses.by_channel("s", "t", "loss", shape, broadcast), s=s, t=t) == pytest.approx(expected, 1e-4)


def test_labelled_is_the_cross_entropy():
    s, labels = normal(6, 4), np.array([0, 1, 2, 3, 3, 0])
    expected = -np.log(softmax(s)[np.arange(6), labels]).mean()
    one_hot = np.eye(4, dtype=np.float32)[labels]
    assert computed(losses.labelled("s", "y", "loss", 4), s=s, y=one_hot) == pytest.approx(expected, 1e-5)


def test_orthogonal_is_the_mean_squared_cosine_of_two_filters():
    v = normal(4, 3, 3, 3)
    f = v.reshape(4, -1) / np.linalg.norm(v.reshape(4, -1), axis=1, keepdims=True)
    dots = f @ f.T
    expected = (dots[~np.eye(4, dtype=bool)] ** 2).mean()
    assert computed(losses.orthogonal("v", "loss", v.shape), v=v) == pytest.approx(expected, 1e-4)
    basis = np.linalg.qr(normal(27, 4))[0].T.reshape(4, 3, 3, 3).astype(np.float32)
    assert computed(losses.orthogonal("v", "loss", basis.shape), v=5 * basis) == pytest.approx(0, abs=1e-5)


def test_a_weighted_sum():
    text = losses.relative("s", "t", "a") + losses.relative("t", "s", "b")
    text += losses.weighted_sum([("a", 2.0), ("b", 0.5)], "loss")
    s, t = normal(2, 3), normal(2, 3, seed=1)
    away = ((s - t) ** 2).mean()
    assert computed(text, s=s, t=t) == pytest.approx(2 * away / (t**2).mean() + away / (s**2).mean() / 2, 1e-5)


def test_names_with_slashes_and_colons():
    assert losses.nodes(losses.relative("/layer1/Conv:0", "a b", "l/1"))[0].input == ["/layer1/Conv:0", "a b"]
