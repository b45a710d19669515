"""A time is read, checked, and printed as it is read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.errors import UsageError
from onnx_compress.compiler.pipeline.milliseconds import Milliseconds
from onnx_compress.compiler.pipeline.spec import format_pipeline, parse_pipeline
from onnx_compress.passes.basis import Basis
from onnx_compress.passes.prune import Prune


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_a_pipeline_prints_a_time_that_it_reads_back(value: float) -> None:
    passes = [Basis(latency=Milliseconds(value)), Prune(latency=Milliseconds(value), macs=0.5)]
    assert parse_pipeline(format_pipeline(passes)) == passes


@pytest.mark.parametrize(("text", "value"), [("1.2ms", 1.2), ("2ms", 2.0), (".5ms", 0.5), ("1e-1ms", 0.1)])
def test_what_is_read(text: str, value: float) -> None:
    (entry,) = parse_pipeline(f"prune:latency={text}")
    assert isinstance(entry, Prune) and entry.latency == Milliseconds(value)
    assert Prune(latency=text) == entry, "Python code may give text"
    assert str(Prune(latency=Milliseconds(2.0))) == "prune:latency=2ms"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-1ms", "latency=-1ms: expected more than 0 ms"),
        ("0ms", "latency=0ms: expected more than 0 ms"),
        ("1.2s", r"cannot be '1.2s' \(expected number \| time such as 1.2ms \| none\)"),
        ("fast", r"cannot be 'fast' \(expected number \| time such as 1.2ms \| none\)"),
        ("1.2 ms", r"cannot read option 'latency' \(without spaces: latency=1.2ms\)"),
        ("1.5", r"latency=1.5: expected more than 0, at most 1"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_pipeline(f"basis:latency={text}")


def test_text_that_is_no_time_is_refused_in_python_too() -> None:
    with pytest.raises(ValueError, match=r"latency='soon': expected a fraction, or a time such as 1\.2ms"):
        Basis(latency="soon")  # pyright: ignore[reportArgumentType]
