"""TensorRT's INT8 arithmetic in numpy, against onnxruntime's run of the Q/DQ model, on the shipped network.

TensorRT: codes = clip(round half to even(x / s), -128, 127); an INT8 Conv adds the products of codes in 32 bits, and
scales the sum by s_x s_w[n]. Every quantizer and every layer is given the tensors that onnxruntime computed before it,
so that a difference is the layer's own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx_compress import compress
from onnx_compress.compiler.graph.convs import has_bias
from onnx_compress.compiler.graph.weights import resolve
from onnx_compress.runtime.data import load_data, model_inputs
from onnx_compress.runtime.preprocess import parse_preprocess
from onnx_compress.runtime.session import Session, graph_session

MODELS = Path(__file__).parents[1] / "models"
Tensors = dict[str, np.ndarray]


def quantize(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(x / scale), -128, 127).astype(np.int8)


def convolve(codes: np.ndarray, weight: np.ndarray, node: gs.Node) -> np.ndarray:
    """32-bit sums of products of codes; (B, N, H, W) int32."""
    pads, strides = node.attrs.get("pads", [0, 0, 0, 0]), node.attrs.get("strides", [1, 1])
    padded = np.pad(codes.astype(np.int32), ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], (2, 3))
    windows = windows[:, :, :: strides[0], :: strides[1]]
    return np.einsum("bchwij,ncij->bnhw", windows, weight.astype(np.int32), dtype=np.int32)


@pytest.fixture(scope="module", params=["xavier", "trt10"])
def observed(request: pytest.FixtureRequest) -> tuple[gs.Graph, Tensors]:
    """The quantized network, and every tensor of it for three images."""
    data, preprocess = f"{MODELS / 'cifar10_sample.npz'}#train_images", "cifar10"
    source = MODELS / "resnet20_cifar10.onnx"
    graph = compress(source, "quantize", target=request.param, data=data, preprocess=preprocess, samples=64).graph
    samples = load_data(data, model_inputs(graph), parse_preprocess(preprocess), 3)
    feeds = next(samples.batches(3))
    names = [tensor.name for node in graph.nodes for tensor in node.outputs]
    return graph, {**feeds, **graph_session(graph, names).run(feeds)}


def test_quantizers_round_half_to_even_and_clip(observed: tuple[gs.Graph, Tensors]):
    graph, tensors = observed
    found = [node for node in graph.nodes if node.op == "QuantizeLinear" and node.inputs[0].name in tensors]
    assert len(found) > 20
    for node in found:
        scale = resolve(node.inputs[1])
        assert scale is not None
        np.testing.assert_array_equal(quantize(tensors[node.inputs[0].name], scale), tensors[node.outputs[0].name])


def test_layers_differ_by_one_lsb_at_most(observed: tuple[gs.Graph, Tensors]):
    graph, tensors = observed
    found = [node for node in graph.nodes if node.op == "Conv"]
    assert len(found) > 15
    for node in found:
        pair, weight_pair = node.inputs[0].inputs[0], node.inputs[1].inputs[0]
        x_scale, w_scale = resolve(pair.inputs[1]), resolve(weight_pair.inputs[1])
        codes, weight = tensors[pair.inputs[0].name], resolve(weight_pair.inputs[0])
        bias = resolve(node.inputs[2]) if has_bias(node) else np.float32(0)
        assert x_scale is not None and w_scale is not None and weight is not None and bias is not None
        assert weight.dtype == np.int8
        sums = convolve(codes, weight, node)
        y = sums * (x_scale * w_scale).reshape(1, -1, 1, 1) + np.reshape(bias, (1, -1, 1, 1))
        expected = tensors[node.outputs[0].name]
        lsb = np.abs(expected).max() / 127
        apart = quantize(y, lsb).astype(int) - quantize(expected, lsb).astype(int)
        assert np.abs(apart).max() <= 1, node.name
        assert np.mean(apart != 0) < 1e-3, node.name


def test_biases_are_sums_that_kernels_can_hold(observed: tuple[gs.Graph, Tensors]):
    graph, _ = observed
    layers = [node for node in graph.nodes if node.op in ("Conv", "Gemm") and has_bias(node)]
    assert len(layers) > 20
    for node in layers:
        bias, *scales = (resolve(each) for each in (node.inputs[2], *(t.inputs[0].inputs[1] for t in node.inputs[:2])))
        step = scales[0] * scales[1]
        codes = np.rint(bias / step).astype(np.int32)
        np.testing.assert_array_equal(bias, codes.astype(np.float32) * step)


def test_a_default_session_says_the_same(observed: tuple[gs.Graph, Tensors]):
    """Up to the order of additions, which differs from processor to processor."""
    graph, tensors = observed
    model, name = gs.export_onnx(graph), graph.inputs[0].name
    for output, found in Session(model, fused=True).run({name: tensors[name]}).items():
        wanted = tensors[output]
        assert np.linalg.norm(found - wanted) < 0.015 * np.linalg.norm(wanted)
