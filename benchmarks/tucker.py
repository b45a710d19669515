"""Tucker-2 of the Convs of a network by TensorLy, from the weights alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def tucker(source: Path, target: Path, share: float) -> None:
    """Of every Conv but the first, whose three channels leave nothing to factor; one share of all ranks.

    Args:
        share: of the MACs that are left at most.
    """
    import onnx

    model = onnx.load(source)
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    places = positions(model)
    sizes = [(values[node.input[1]].shape, places[node.input[0]], places[node.output[0]]) for node in convs]
    whole = sum(direct(*size) for size in sizes)
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        kept = direct(*sizes[0]) + sum(factored(*size, ranks(size[0], middle)) for size in sizes[1:])
        low, high = (low, middle) if kept > share * whole else (middle, high)
    for node, (shape, *_) in zip(convs[1:], sizes[1:], strict=True):
        factor(model.graph, node, values[node.input[1]], ranks(shape, low))
    onnx.save(model, target)


def positions(model: Any) -> dict[str, int]:
    """Tensor name -> height x width."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    dims = {value.name: value.type.tensor_type.shape.dim for value in (*graph.input, *graph.value_info)}
    return {name: sizes[2].dim_value * sizes[3].dim_value for name, sizes in dims.items() if len(sizes) == 4}


def ranks(shape: tuple[int, ...], share: float) -> list[int]:
    return [max(1, round(share * size)) for size in shape[:2]]


def direct(shape: tuple[int, ...], _before: int, after: int) -> int:
    return shape[0] * shape[1] * shape[2] * shape[3] * after


def factored(shape: tuple[int, ...], before: int, after: int, found: list[int]) -> int:
    filters, channels = found
    return shape[1] * channels * before + (channels * shape[2] * shape[3] + shape[0]) * filters * after


def factor(graph: Any, node: Any, weight: Any, found: list[int]) -> None:
    """1x1 to fewer channels, the core, 1x1 to all filters; the bias stays with the last."""
    import onnx
    from tensorly.decomposition import partial_tucker

    (core, (out, into)), _ = partial_tucker(weight, found, modes=[0, 1])
    x, y, bias = node.input[0], node.output[0], list(node.input[2:])
    names = [f"{y}_{part}" for part in ("in", "core", "out")]
    for name, value in zip(names, (into.T[:, :, None, None], core, out[:, :, None, None]), strict=True):
        graph.initializer.append(onnx.numpy_helper.from_array(value.astype("float32").copy(), name))
    middle = onnx.helper.make_node("Conv", [f"{y}_few", names[1]], [f"{y}_some"])
    middle.attribute.extend(node.attribute)
    first = onnx.helper.make_node("Conv", [x, names[0]], [f"{y}_few"])
    last = onnx.helper.make_node("Conv", [f"{y}_some", names[2], *bias], [y])
    place = list(graph.node).index(node)
    graph.initializer.remove(next(tensor for tensor in graph.initializer if tensor.name == node.input[1]))
    graph.node.remove(node)
    for new in (last, middle, first):
        graph.node.insert(place, new)
