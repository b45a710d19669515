"""What the verifier measures, notes and refuses."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from builders import Unlabelled, model, node, normal
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.pipeline.base import Pass, PassRecord, PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.data import Feeds
from onnx_compress.compiler.pipeline.manager import PassManager
from onnx_compress.passes.cleanup import Cleanup
from onnx_compress.runtime import verify
from onnx_compress.runtime.verify import Verify, first_feeds, relative_error


@dataclass(frozen=True)
class Scale(Pass):
    """Multiply the weight by a factor."""

    name: ClassVar[str] = "scale"
    factor: float = 1.0

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        constant = node(graph, "Gemm").inputs[1]
        constant.values = (constant.values * self.factor).astype(constant.values.dtype)
        return PassResult(changed=True)


@dataclass(frozen=True)
class ExactScale(Scale):
    name: ClassVar[str] = "exact-scale"
    exact: ClassVar[bool] = True


@dataclass(frozen=True)
class Break(Pass):
    name: ClassVar[str] = "break"
    damage: Callable[[gs.Graph], None] = field(default=lambda graph: None, compare=False)

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        self.damage(graph)
        return PassResult(changed=True)

    def __str__(self) -> str:
        return "break"


@dataclass
class Rows(Unlabelled):
    """Data in memory that counts how many samples are taken."""

    rows: np.ndarray
    taken: int = 0

    @property
    def samples(self) -> int:
        return len(self.rows)

    def batches(self, size: int) -> Iterator[Feeds]:
        for start in range(0, len(self.rows), min(size, 4)):
            self.taken += 1
            yield {"x": self.rows[start : start + min(size, 4)]}


def classifier(dtype: type = np.float32) -> Model:
    name = {"f": "float", "e": "float16"}[np.dtype(dtype).char]
    return model(f"g ({name}[N,8] x) => ({name}[N,5] y) {{ y = Gemm(x, w) }}", w=normal(8, 5, dtype=dtype))


def run(source: Model, *passes: Pass, data: Rows | None = None) -> list[PassRecord]:
    return PassManager(passes, [Verify(samples=8)]).run(source, Context(data=data))


def test_figures_on_real_inputs():
    data = Rows(normal(20, 8))
    first, second = run(classifier(), Scale(0.5), Scale(-1.0), data=data)
    assert first.figures == {"relative_error": pytest.approx(0.5)}
    assert second.figures == {"relative_error": pytest.approx(2.0)}
    assert (
        data.taken == 9
    )  # three runs, of a look at the size and two batches each: what comes after is before the next


@pytest.mark.parametrize(("values", "count"), [(8, 10), (2**18, 4), (2**17 - 2**14, 9), (2**21, 2)])
def test_fewer_samples_are_compared_where_they_are_large(values: int, count: int):
    class Few(Rows):
        def batches(self, size: int) -> Iterator[Feeds]:
            for start in range(0, len(self.rows), size):
                yield {"x": np.broadcast_to(np.float32(0), (len(self.rows[start : start + size]), values))}

    assert sum(len(feeds["x"]) for feeds in first_feeds(Few(normal(20, 1)), 10)) == count


def test_an_exact_pass_may_round():
    (record,) = run(classifier(), ExactScale(1 + 1e-5), data=Rows(normal(8, 8)))
    assert 0 < record.figures["relative_error"] < 1e-4


@pytest.mark.parametrize("data", [None, Rows(normal(8, 8))])
def test_an_exact_pass_must_not_move_the_outputs(data: Rows | None):
    with pytest.raises(CompressError, match=r"pass 2 'exact-scale'.*moved the outputs by 0.01"):
        run(classifier(), ExactScale(1.0), ExactScale(1.01), data=data)


def test_half_precision_is_given_more_room():
    (record,) = run(classifier(np.float16), ExactScale(1.005), data=Rows(normal(8, 8, dtype=np.float16)))
    assert record.figures["relative_error"] == pytest.approx(0.005, rel=0.2)


def test_without_data_only_exact_passes_are_compared():
    first, second = run(classifier(), Scale(0.5), ExactScale(1.0))
    assert first.figures == {}
    assert second.figures == {"relative_error": 0.0}


def test_an_unchanged_graph_is_not_run_again():
    (record,) = run(classifier(), Untouched(), data=Rows(normal(8, 8)))
    assert record.figures == {}


@dataclass(frozen=True)
class Untouched(Pass):
    name: ClassVar[str] = "untouched"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        return PassResult()


def test_a_broken_graph_names_the_pass():
    def damage(graph: gs.Graph) -> None:
        graph.nodes[0].inputs[0] = gs.Variable("nowhere")

    with pytest.raises(CompressError, match=r"pass 1 'break'.*nowhere"):
        run(classifier(), Break(damage))


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("y = com.example.Magic(x)", r"did not run before this pass either.*Magic"),
        ("y = Relu(x)", "a pass broke the graph"),
    ],
)
def test_a_model_that_never_ran_is_at_fault_itself(text: str, fix: str):
    def damage(graph: gs.Graph) -> None:
        graph.nodes[0].inputs[0] = gs.Variable("nowhere")

    source = model(f"g (float[N,2] x) => (float[N,2] y) {{ {text} }}", domains=', "com.example" : 1')
    with pytest.raises(CompressError) as caught:
        run(source, Break(damage), data=Rows(normal(4, 2)))
    assert re.search(fix, caught.value.fix)


def test_several_outputs_have_a_figure_each():
    source = model("g (float[N,8] x) => (float[N,5] y, float[N,8] z) { y = Gemm(x, w) z = Relu(x) }", w=normal(8, 5))
    (record,) = run(source, Scale(0.5), data=Rows(normal(8, 8)))
    assert record.figures["relative_error:z"] == 0.0
    assert record.figures["relative_error"] == record.figures["relative_error:y"] == pytest.approx(0.5)


def test_a_model_that_the_engine_cannot_run_is_noted():
    source = model("g (float[2] x) => (float[2] y) { y = com.example.Magic(x) }", domains=', "com.example" : 1')
    first, second = run(source, Break(), Break(), data=Rows(normal(4, 2)))
    assert ["outputs are not compared" in note for note in first.result.notes] == [True]
    assert second.result.notes == []


def test_a_missing_engine_is_noted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (record,) = run(classifier(), ExactScale(2.0))
    assert record.result.notes == ["outputs are not compared: onnxruntime is not installed"]


def test_a_model_that_came_in_invalid_is_held_to_the_structure():
    source = model("g (float[N,8] x) => (float[N,6] y) { y = Gemm(x, w) }", w=normal(8, 5))
    (record,) = run(source, Break())
    assert ["fails the ONNX checker" in note for note in record.result.notes] == [True]


def test_random_operators_do_not_fail_an_exact_pass():
    source = model(
        "g (float[N,8] x) => (float[N,5] y) { i = Identity(x) r = RandomNormalLike(i) a = Add(i, r) y = Gemm(a, w) }",
        w=normal(8, 5),
    )
    (record,) = run(source, Cleanup(), data=Rows(normal(8, 8)))
    assert record.figures["relative_error"] > 1e-3


def test_outputs_that_the_last_bit_of_the_inputs_moves_do_not_fail_an_exact_pass():
    source = model(
        "g (float[N,8] x) => (float[N,5] y) { a = Gemm(x, w) b = Mul(a, big) y = Sin(b) }",
        w=normal(8, 5),
        big=np.full(1, 1e6, np.float32),
    )
    (record,) = run(source, ExactScale(1 + 1.2e-7), data=Rows(normal(8, 8)))
    assert record.figures["relative_error"] > 1e-2
    assert ["another last bit" in note for note in record.result.notes] == [True]


def test_integer_inputs_get_random_values_too():
    source = model(
        "g (int64[N,2] i, float[N,8] x) => (float[N,5] y, int64[N,2] j) { y = Gemm(x, w) j = Abs(i) }", w=normal(8, 5)
    )
    feeds = verify.random_feeds(source.graph, np.random.default_rng(0))
    assert {name: (value.shape, value.dtype.char) for name, value in feeds.items()} == {
        "i": ((1, 2), "l"),
        "x": ((1, 8), "f"),
    }
    assert run(source, ExactScale(1.0))[0].figures["relative_error"] == 0.0


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([3, 4], [3, 4], 0.0),
        ([3, 4], [0, 0], 1.0),
        ([0, 0], [0, 2], 2.0),
        ([1, np.nan], [1, np.nan], 0.0),
        ([1, np.inf], [1, np.inf], 0.0),
        ([1, 2], [1, 2, 3], np.inf),
    ],
)
def test_relative_error(a: list[float], b: list[float], expected: float):
    assert relative_error(np.array(a, np.float32), np.array(b, np.float32)) == pytest.approx(expected)


def test_a_new_nan_is_an_error():
    assert not relative_error(np.ones(2), np.array([1, np.nan])) <= 1e-3
