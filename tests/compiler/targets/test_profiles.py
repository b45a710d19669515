"""Shapes of open inputs: the text form, and what the model allows."""

from __future__ import annotations

import builders
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.errors import UsageError
from onnx_compress.compiler.targets.profiles import Range, open_inputs, parse_ranges

sizes = st.lists(st.integers(1, 9999), min_size=1, max_size=5).map(tuple)


def spelled(dims: tuple[int, ...]) -> str:
    return "x".join(map(str, dims))


@given(st.text("ab:/. ", min_size=1), sizes)
def test_one_shape_stands_for_all_three(name: str, dims: tuple[int, ...]):
    assert parse_ranges([f"{name}:{spelled(dims)}"]) == {name: Range(dims, dims, dims)}


def test_a_range():
    assert parse_ranges(["in:0:1x3/4x3/8x3"]) == {"in:0": Range((1, 3), (4, 3), (8, 3))}


@pytest.mark.parametrize("text", ["", "x", "x:", ":1x3", "x:1x", "x:ax3", "x:1x3/2x3", "x:-1x3", "x:1,3"])
def test_what_is_no_shape(text: str):
    with pytest.raises(UsageError, match="is not a shape"):
        parse_ranges([text])


@pytest.mark.parametrize("text", ["x:2x3/1x3/4x3", "x:1x3/2/4x3", "x:1x3/4x3/2x3"])
def test_sizes_grow(text: str):
    with pytest.raises(UsageError, match="do not grow"):
        parse_ranges([text])


GRAPH = "g (float[N,3,H,8] x, float[1,8] c) => (float[N,3,H,8] y) { y = Add(x, c) }"


def test_open_inputs_get_nominal_sizes():
    assert open_inputs(builders.model(GRAPH).graph) == parse_ranges(["x:1x3x224x8"])


@pytest.mark.parametrize(
    ("text", "words"),
    [("z:1x8", "no input 'z'"), ("x:1x4x8x8", "x is Nx3xHx8"), ("x:1x3x8", "is Nx3"), ("c:2x8", "is 1x8")],
)
def test_what_the_model_does_not_have(text: str, words: str):
    with pytest.raises(UsageError) as caught:
        open_inputs(builders.model(GRAPH).graph, parse_ranges([text]))
    assert words.replace("x is", "'x' is") in str(caught.value)


def test_a_static_input_may_be_given_as_it_is():
    given_too = parse_ranges(["x:2x3x16x8", "c:1x8"])
    assert open_inputs(builders.model(GRAPH).graph, given_too) == parse_ranges(["x:2x3x16x8"])
