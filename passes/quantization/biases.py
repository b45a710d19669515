"""The biases of layers in INT8: float32 in the file, of values that the INT32 of kernels can hold.

    b  <-  E[y] - W E[Q(x)]               no channel's mean moves
    b  <-  s_x s_n round(b / (s_x s_n))   whole steps of the sums of products (`projection.grid`)

The second costs nothing: a rounded input alone moves an output by up to 63 such steps. In the steps and between them,
judged on pictures that were not calibrated with (mean and standard deviation over seeds; all else the same to the bit):

    SqueezeNet 1.1, 4 seeds   KL divergence from the float network   0.0202 +- 0.0007, 0.0202 +- 0.0007
                              agreement with it, 500 pictures        91.7 +- 0.5 %,    92.0 +- 1.2 %
    DeepLab v3, 3 seeds       KL divergence                          0.0043 +- 0.0007, 0.0038 +- 0.0004
                              relative error of the outputs          0.0466 +- 0.0009, 0.0469 +- 0.0004
                              mIoU, 100 pictures                     35.8 +- 0.3,      35.6 +- 0.2

Between the steps the engine would round: TensorRT, and onnxruntime where a QuantizeLinear reads the result of the
layer. In the first pairs 2 to 4 of 10,000 values then take the next code, and layer by layer that grows into another
rounding of everything. Relative distance of the outputs from those of the pairs as they are written, 32 samples,
TensorRT's form of pairs (these figures are of before tensors were shifted, `graph.quantization.shifts`):

                                         SqueezeNet  MobileNetV2  DeepLab  EfficientNet  YOLOX   FastestDet
                                            1.1         1.0         v3        Lite0      nano
    default session of onnxruntime          0.000      0.002      0.013      0.030       0.051     0.120
      samples that are equal to the bit       32         20          4          7          19         8
      with biases between the steps         0.018      0.032      0.021      0.048       0.049     0.187
    additions in another order, in float    0.005      0.019      0.013      0.033       0.063     0.116
    one pixel of each picture moved by
      one code of the first pair            0.008      0.025      0.014      0.037       0.057     0.079
      (the float network's own change)      0.0001     0.0001     0.0001     0.0003      0.0001    0.0001
    the float network                       0.028      0.043      0.035      0.062       0.164     0.198

The rows of the order and of the pixel are what these networks make of the least of changes: an engine that adds in an
order of its own is that far away, too, whatever the pairs are. So it is with the first row: without the three rewrites
of onnxruntime that change the order (sums in integers, a residual added before the bias, channels in blocks) it is 0.

A bias stays between the steps where layers share it whose inputs have different scales. What an Add adds to the result
of a MatMul is a bias, too: both engines make one kernel of the two.

Sources: NVIDIA TensorRT developer guide, "Q/DQ layer-placement recommendations" (bias with S_x * S_w); onnxruntime,
`core/optimizer/qdq_transformer/weight_bias_quantization.cc`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.ties import stored_tensor
from ...compiler.graph.weights import declared_input, resolve
from ...runtime.rounded_inputs import RoundedInputs
from ..projection.grid import round_bias

Biases = Mapping[str, np.ndarray]
"""Name of a layer -> (N,) float32."""


def corrected(nodes: Sequence[gs.Node], rounded: np.ndarray, seen: Mapping[str, RoundedInputs]) -> Biases:
    """What keeps the mean outputs of `nodes`, which read one weight, `rounded` (N, d); those that share a bias share
    the new one."""
    found: dict[str, np.ndarray] = {}
    for alike in sharing_bias(nodes):
        mean = np.stack([_mean_kept(rounded, seen[node.name]) for node in alike]).mean(axis=0).astype(np.float32)
        found.update((node.name, mean) for node in alike)
    return found


def in_steps(
    biases: Biases, nodes: Iterable[gs.Node], graph: gs.Graph, scale: np.ndarray, inputs: Mapping[str, float | None]
) -> Biases:
    """`biases`, and those that the others of `nodes` have stored, in whole steps.

    Args:
        nodes: layers of `graph` that read one weight.
        scale: of that weight, (N,) or ().
        inputs: scales of what `nodes` read, by name; None where that is not rounded.
    """
    found = dict(biases)
    for alike in sharing_bias([node for node in nodes if node.name in found or _is_vector(node, graph)]):
        scales = {inputs[node.name] for node in alike}
        if None in scales or len(scales) > 1:
            continue
        step = np.float32(scales.pop()) * scale
        for node in alike:
            found[node.name] = round_bias(found[node.name] if node.name in found else _vector(node), step)
    return found


def sharing_bias(nodes: Iterable[gs.Node]) -> list[list[gs.Node]]:
    """The nodes by the bias that is stored for them; those without one together."""
    found: dict[int, list[gs.Node]] = {}
    for node in nodes:
        tensor = _tensor(node)
        found.setdefault(0 if tensor is None else id(stored_tensor(tensor)), []).append(node)
    return list(found.values())


def write_bias(rewriter: Rewriter, node: gs.Node, bias: np.ndarray) -> None:
    """Give a layer another bias (N,)."""
    if node.op != "MatMul":
        rewriter.set_weight(node, 2, bias)
        return
    adding, stored = node.outputs[0].outputs[0], _stored(node)
    assert stored is not None
    index = 1 - next(i for i, tensor in enumerate(adding.inputs) if tensor is node.outputs[0])
    rewriter.set_weight(adding, index, bias.reshape(stored.shape) if stored.size == bias.size else bias)


def stored_bias(node: gs.Node) -> np.ndarray | float:
    """(N,), 0 where there is none; of a MatMul, whose outputs are taken before an Add, there is none."""
    bias = None if node.op == "MatMul" else _stored(node)
    return 0.0 if bias is None else bias.reshape(-1)


def largest_bias(node: gs.Node, rows: int) -> np.ndarray:
    """(rows,): the largest |bias| that each output channel has, 0 where there is no constant one."""
    bias = _stored(node)
    if bias is None:
        return np.zeros(rows, np.float32)
    size = np.abs(bias)
    per_row = size.reshape(-1, rows).max(axis=0) if size.shape[-1:] == (rows,) else size.max(initial=0.0)
    return np.broadcast_to(per_row, (rows,))


def _tensor(node: gs.Node) -> gs.Tensor | None:
    """The bias input, or what an Add after a MatMul adds."""
    if node.op != "MatMul":
        return node.inputs[2] if len(node.inputs) > 2 and not node.inputs[2].is_empty() else None
    reader = node.outputs[0].outputs[0] if len(node.outputs[0].outputs) == 1 else None
    if reader is None or reader.op != "Add":
        return None
    return next((tensor for tensor in reader.inputs if tensor is not node.outputs[0]), None)


def _stored(node: gs.Node) -> np.ndarray | None:
    tensor = _tensor(node)
    return None if tensor is None else resolve(tensor)


def _vector(node: gs.Node) -> np.ndarray:
    """Of a layer with a constant bias: (N,), or (1,) for all channels."""
    bias = _stored(node)
    assert bias is not None
    return bias.reshape(-1)


def _is_vector(node: gs.Node, graph: gs.Graph) -> bool:
    """It has a constant bias, one for all rows of its outputs."""
    tensor, bias = _tensor(node), _stored(node)
    if tensor is None or bias is None or declared_input(tensor, graph) is not None:
        return False
    return bias.ndim == 0 or bias.size == bias.shape[-1]


def _mean_kept(rounded: np.ndarray, inputs: RoundedInputs) -> np.ndarray:
    """E[y] - W E[x], (N,) float32."""
    grouped = rounded.reshape(*inputs.mean_y.shape, -1)
    return (inputs.mean_y - np.einsum("gnd,gd->gn", grouped, inputs.mean_x)).reshape(-1).astype(np.float32)
