"""Segments give the values of the whole network, and only the live cut is held."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.runtime.data import sized_batches
from onnx_compress.runtime.segmented_executor import SegmentedExecutor

GRAPH = """g (float[N,2,4,4] x) => (float[N,2,4,4] y) {
    a = Conv(x, w)
    b = Relu(a)
    c = Conv(b, w)
    y = Add(c, x)
}"""


@pytest.fixture
def graph():
    return builders.model(GRAPH, w=builders.normal(2, 2, 1, 1)).graph


def batches() -> list[dict[str, np.ndarray]]:
    return [{"x": builders.normal(3, 2, 4, 4, seed=seed)} for seed in range(2)]


def test_values_are_those_of_the_whole_network(graph) -> None:
    executor = SegmentedExecutor(graph, batches())
    executor.advance(["b"])
    executor.advance(["c", "x"])
    executor.advance(["y"])
    expected = builders.run(builders.model(GRAPH, w=builders.normal(2, 2, 1, 1)), x=batches()[1]["x"])["y"]
    np.testing.assert_allclose(executor["y"][1], expected, atol=1e-6)


def test_only_what_is_read_later_is_held(graph) -> None:
    executor = SegmentedExecutor(graph, batches())
    executor.advance(["b"])
    assert set(executor._values) == {"b", "x"}
    executor.advance(["c"])
    assert set(executor._values) == {"c", "x"}
    executor.advance(["y"])
    assert set(executor._values) == {"y"}


def test_a_node_ahead_may_be_replaced(graph) -> None:
    executor = SegmentedExecutor(graph, batches())
    executor.advance(["b"])
    rewriter = Rewriter(graph)
    rewriter.set_weight(builders_node(graph, "c"), 1, np.zeros((2, 2, 1, 1), np.float32))
    executor.advance(["y"])
    np.testing.assert_array_equal(executor["y"][0], batches()[0]["x"])


def test_the_plan_names_the_nodes_still_to_run(graph) -> None:
    executor = SegmentedExecutor(graph, batches())
    assert [node.op for node in executor.plan(["b"])] == ["Conv", "Relu"]
    executor.advance(["a"])
    assert [node.op for node in executor.plan(["y"])] == ["Relu", "Conv", "Add"]
    assert executor.plan(["x"]) == []


def test_two_walks_share_their_inputs_and_nothing_else(graph) -> None:
    drawn = iter(batches())
    executor = SegmentedExecutor(graph, drawn)
    other = executor.beside(builders.model(GRAPH, w=builders.normal(2, 2, 1, 1, seed=1)).graph)
    assert executor["x"] is other["x"]
    executor.advance(["b"])
    assert set(other._values) == {"x"}
    other.advance(["y", "x"])
    expected = builders.run(builders.model(GRAPH, w=builders.normal(2, 2, 1, 1, seed=1)), x=batches()[1]["x"])["y"]
    np.testing.assert_allclose(other["y"][1], expected, atol=1e-6)
    assert set(executor._values) == {"b", "x"}


def test_values_beyond_the_memory_bound_go_to_files(graph) -> None:
    executor = SegmentedExecutor(graph, batches(), memory=0)
    executor.advance(["b"])
    assert executor["b"].held == executor["x"].held == 0
    held = SegmentedExecutor(graph, batches())
    held.advance(["b"])
    np.testing.assert_array_equal(executor["b"][1], held["b"][1])


def test_a_branch_reads_tensors_from_outside() -> None:
    text = """g (float[N,2] x, bool c) => (float[N,2] y) {
        a = Relu(x)
        b = Neg(x)
        y = If(c) <
            then_branch = then () => (float[N,2] t) { t = Identity(a) },
            else_branch = other () => (float[N,2] e) { e = Identity(b) }
        >
    }"""
    executor = SegmentedExecutor(builders.model(text).graph, [{"x": builders.normal(1, 2), "c": np.array(True)}])
    executor.advance(["b"])
    executor.advance(["y"])
    np.testing.assert_array_equal(executor["y"][0], np.maximum(builders.normal(1, 2), 0))


def builders_node(graph, output: str):
    return next(node for node in graph.nodes if node.outputs[0].name == output)


@pytest.mark.parametrize(("shape", "size"), [((200, 3, 8, 8), 128), ((60, 3, 192, 192), 9), ((40, 3, 1024, 1024), 8)])
def test_large_samples_come_in_small_batches(shape: tuple[int, ...], size: int) -> None:
    found = [len(batch["x"]) for batch in sized_batches(builders.Images(np.zeros(shape, np.float32)))]
    assert found[0] == size
    assert sum(found) == shape[0]


def test_what_no_node_reads_any_more_is_given_up_batch_by_batch(graph) -> None:
    """Two walks share their inputs, which therefore stay until both are past them."""
    executor = SegmentedExecutor(graph, batches())
    other = executor.beside(graph.copy())
    executor.advance(["a"])
    spent = executor["a"]
    executor.advance(["b"])
    assert spent.held == 0
    with pytest.raises(IndexError, match="given up"):
        spent[0]
    executor.advance(["y"])
    other.advance(["y"])
    for mine, its in zip(executor["y"], other["y"], strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("ahead", [["b"], ["c", "x"], ["y"], ["x"]])
def test_further_batches_are_run_as_far_as_the_others(graph, ahead: list[str]) -> None:
    """Also on a network that is walked beside, with the inputs in common."""
    first, second = batches()
    executor, every = SegmentedExecutor(graph, [first]), SegmentedExecutor(graph, batches())
    walks = [executor, executor.beside(graph.copy())]
    for walk in (*walks, every):
        walk.advance(["a"])
        walk.advance(ahead)
    for take in [walk.catch_up() for walk in walks]:
        take(second)
    for walk in walks:
        assert {len(value) for value in walk._values.values()} == {2}
        np.testing.assert_allclose(walk[ahead[0]][1], every[ahead[0]][1], atol=1e-6)
        walk.advance(["y"])
    every.advance(["y"])
    np.testing.assert_allclose(executor["y"][1], every["y"][1], atol=1e-6)
