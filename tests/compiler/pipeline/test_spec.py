"""The pipeline grammar: what it reads, prints and refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx_graphsurgeon as gs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.errors import UsageError
from onnx_compress.compiler.pipeline import registry
from onnx_compress.compiler.pipeline.base import Pass, PassResult, option
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.spec import format_pipeline, parse_pipeline


@dataclass(frozen=True)
class Demo(Pass):
    """A pass with an option of every type."""

    name: ClassVar[str] = "demo-pass"
    count: int = option(1, "a number of things")
    rate: float = option(0.5, "a share")
    macs: float | None = option(None, "a budget")
    flag: bool = option(False, "a switch")
    method: Literal["minmax", "entropy"] = option("minmax", "a way")
    align: int | Literal["target"] = option(1, "a multiple")
    file_path: str = option("", "a file")
    label: str | None = option(None, "a text")

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        return PassResult()


@pytest.fixture(autouse=True, scope="module")
def registered() -> Iterator[None]:
    registry.register(Demo)
    yield
    registry._registered.pop("demo-pass")


def parse(options: str) -> Demo:
    (entry,) = parse_pipeline(f"demo-pass:{options}" if options else "demo-pass")
    assert isinstance(entry, Demo)
    return entry


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("rate=1e-4", {"rate": 1e-4}),
        ("rate=.5", {"rate": 0.5}),
        ("rate=-1", {"rate": -1.0}),
        ("count=-3", {"count": -3}),
        ("macs=0.5", {"macs": 0.5}),
        ("macs=none", {"macs": None}),
        ("macs=2", {"macs": 2.0}),
        ("flag", {"flag": True}),
        ("flag=false", {"flag": False}),
        ("method=entropy", {"method": "entropy"}),
        ("align=8", {"align": 8}),
        ("align=target", {"align": "target"}),
        ("file-path=a/b.npz", {"file_path": "a/b.npz"}),
        ("file_path=a/b.npz", {"file_path": "a/b.npz"}),
        (r'file-path="C:\\data, \"x\"=1"', {"file_path": 'C:\\data, "x"=1'}),
        ("file-path='a:b'", {"file_path": "a:b"}),
        ('label="none"', {"label": "none"}),
        ("label=none", {"label": None}),
        ("label=4", {"label": "4"}),
        (" rate = 0.25 : flag ", {"rate": 0.25, "flag": True}),
    ],
)
def test_values(text: str, expected: dict[str, object]):
    entry = parse(text)
    assert entry == Demo(**expected)
    for key, value in expected.items():
        assert type(getattr(entry, key)) is type(value)


texts = st.text(max_size=12)
options = st.fixed_dictionaries(
    {},
    optional={
        "count": st.integers(),
        "rate": st.floats(allow_nan=False, allow_infinity=False),
        "macs": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "flag": st.booleans(),
        "method": st.sampled_from(["minmax", "entropy"]),
        "align": st.integers() | st.just("target"),
        "file_path": texts,
        "label": st.none() | texts | st.sampled_from(["none", "true", "1e-4", "0.5", "-1", '"', "\\", "a,b:c=d"]),
    },
)


@given(st.lists(options.map(lambda chosen: Demo(**chosen)), min_size=1, max_size=3))
def test_round_trip(passes: list[Demo]):
    printed = format_pipeline(passes)
    assert parse_pipeline(printed) == passes
    assert format_pipeline(parse_pipeline(printed)) == printed


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str):
    try:
        passes = parse_pipeline(text)
    except UsageError:
        return
    assert parse_pipeline(format_pipeline(passes)) == passes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the pipeline is empty"),
        ("demo-pass,", "a pass name is missing"),
        ("demo-pas", "unknown pass 'demo-pas'.*did you mean 'demo-pass'"),
        ("demo-pass:rat=1", "no option 'rat'.*did you mean 'rate'.*known: count"),
        ("demo-pass:zzz=1", "no option 'zzz' .*known: count, rate"),
        ("demo-pass:", "an option of 'demo-pass' is missing"),
        ("demo-pass:rate=", "cannot read option 'rate'"),
        ("demo-pass:rate=1=2", "cannot read option 'rate'"),
        ("demo-pass=1", "unexpected '='"),
        ("demo-pass:rate=fast", "'rate' of 'demo-pass' cannot be 'fast'.*expected number"),
        ("demo-pass:count=0.5", "expected integer"),
        ("demo-pass:flag=2", "expected true or false"),
        ("demo-pass:method=kl", "expected minmax . entropy"),
        ("demo-pass:rate=1:rate=2", "given twice"),
        ("demo-pass:file-path='a", "close the quote"),
    ],
)
def test_refusals_say_what_is_accepted(text: str, message: str):
    with pytest.raises(UsageError, match=message) as caught:
        parse_pipeline(text)
    assert caught.value.exit_code == 2
