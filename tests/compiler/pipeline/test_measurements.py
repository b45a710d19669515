"""What runs share: measured once, and not sent to other processes."""

from __future__ import annotations

import pickle

from onnx_compress.compiler.pipeline.measurements import Measurements


def test_each_key_is_measured_once() -> None:
    found, made = Measurements(), list[int]()

    def measure() -> int:
        made.append(len(made))
        return made[-1]

    assert [found.once(key, measure) for key in ("a", "b", "a")] == [0, 1, 0]
    assert made == [0, 1]


def test_another_process_begins_with_none() -> None:
    found = Measurements()
    found.once("a", lambda: 1)
    assert pickle.loads(pickle.dumps(found)).once("a", lambda: 2) == 2
