"""A metric of the user's is measured once per network, and whatever goes wrong in it is one clear error."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import builders
import numpy as np
import pytest
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.runtime.quality.judge import CHOICES, judge_of_run
from onnx_compress.runtime.quality.own_metric import metric_file, own_metric

TEXT = "g (float[N,4] x) => (float[N,3] y, int64[M] k) { y = MatMul(x, w) f = Flatten<axis=0>(y) n = NonZero(f) "
TEXT += "k = Gather(n, one) }"
FEEDS = {"x": np.ones((2, 4), np.float32)}
PRINTS = f"{sys.executable} -c 'import sys, onnx; onnx.load(sys.argv[1]); {{}}' {{{{}}}}"


def network(scale: float = 1.0):
    return builders.model(TEXT, w=scale * np.ones((4, 3), np.float32), one=np.array(1)).graph


def measured(metric: Any, scale: float = 1.0) -> float:
    found = own_metric(metric, CHOICES)
    assert found is not None
    return found.value(network(scale))


def total(predict: Any) -> float:
    found: Mapping[str, np.ndarray] = predict(FEEDS)
    assert set(found) == {"y", "k"}, "all outputs, as the model has them"
    return found["y"].sum()


def test_a_function_is_given_the_network() -> None:
    assert (measured(total), measured(total, 0.5)) == (24.0, 12.0)


def test_samples_are_counted_as_they_are_run() -> None:
    found = own_metric(lambda predict: len([predict(FEEDS) for _ in range(3)]), CHOICES)
    assert found is not None
    assert (found.value(network()), found.samples) == (3, 6)
    command = own_metric(PRINTS.format("print(1)"), CHOICES)
    assert command is not None
    assert (command.value(network()), command.samples) == (1, 0)


def test_a_file_names_its_function(tmp_path: Path) -> None:
    file = tmp_path / "map.py"
    file.write_text(
        "import numpy as np\ndef rows(predict): return len(predict({'x': np.ones((5, 4), np.float32)})['y'])"
    )
    assert measured(f"{file}:rows") == 5
    assert metric_file(f"{file}:rows") == file
    found = own_metric(f"{file}:rows", CHOICES)
    assert found is not None and found.label == "map.py:rows"


def test_a_command_is_given_a_file() -> None:
    assert measured(PRINTS.format('print("some words"); print(49.5)')) == 49.5


def test_the_names_of_the_projects_metrics_are_not_the_users() -> None:
    assert [own_metric(name, CHOICES) for name in CHOICES] == [None] * len(CHOICES)


def test_a_network_is_measured_once() -> None:
    calls: list[float] = []

    def counted(predict: Any) -> float:
        calls.append(predict(FEEDS)["y"].sum())
        return calls[-1]

    ctx = Context(RunOptions(metric=counted), metric=own_metric(counted, CHOICES))
    for _ in range(2):
        judge = judge_of_run(network(), ctx)
        assert judge is not None
        found = judge.judge(network(0.5))
    assert calls == [24.0, 12.0]
    assert (found.metric, found.value, found.loss, found.original) == ("counted()", 12.0, 12.0, 24.0)
    assert (found.deviation, found.samples, found.bound) == (None, None, 12.0)


def exits(predict: Any) -> float:
    raise SystemExit(0)


def wrong_input(predict: Any) -> float:
    return predict({"z": FEEDS["x"]})["y"].sum()


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (lambda predict: None, "the metric <lambda>: the metric returns nothing"),
        (lambda predict: predict(FEEDS), "the metric returns a value of type dict"),
        (lambda predict: float("nan"), "the metric is nan"),
        (lambda predict: 1 / 0, "the metric fails in line [0-9]+ of test_own_metric.py: ZeroDivisionError"),
        (exits, r"the metric exits: the metric fails in line [0-9]+ of .*: it ends the program, by sys.exit\(0\)"),
        (wrong_input, "Required inputs .*missing.* [(]give predict[(][)] the inputs of the model, by name"),
        ("agrement", "no metric 'agrement' .did you mean 'agreement'.*or your own: map.py:map50"),
        ("none.py:map50", "none.py: no such metric file"),
        ("math:sinus", "'math' has no function 'sinus' .did you mean 'sin'"),
        (PRINTS.format("print()"), "it prints nothing .it has to print the number alone on the last line"),
        (PRINTS.format('print("mAP 49.5")'), "its last line is no number: 'mAP 49.5'"),
        (PRINTS.format('print("nan")'), "the metric is nan"),
        (PRINTS.format('sys.exit("no pictures")'), "ends with exit code 1: no pictures"),
        ("no-such-program {}", "'no-such-program {}': ends with exit code 127"),
    ],
)
def test_what_goes_wrong_is_one_clear_error(metric: Any, words: str) -> None:
    with pytest.raises(CompressError, match=words) as raised:
        measured(metric)
    assert "\n" not in str(raised.value)
