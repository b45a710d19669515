from __future__ import annotations

import builders
import front
import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx_compress.compiler.errors import CompressError
from onnx_compress.runtime.data import Input, Samples, load_data
from onnx_compress.runtime.evaluate import accuracy, agreement, choices, class_scores

X = Input("x", np.dtype(np.float32), (None, 3, 8, 8))


@pytest.fixture
def data() -> Samples:
    return load_data(front.images(20), [X])


def scores(data: Samples) -> np.ndarray:
    return builders.run(front.classifier(), x=next(iter(data.batches(20)))["x"])["y"]


def test_accuracy_counts_hits_over_batches(data: Samples):
    order = scores(data).argsort(1)
    labels = order[:, -1].copy()
    labels[:5] = order[:5, -5]
    labels[5:7] = order[5:7, 0]
    found = accuracy(front.classifier(), data, labels, batch=6)
    assert (found.samples, found.top1, found.top5) == (20, 13 / 20, 18 / 20)


def test_labels_beyond_the_classes(data: Samples):
    with pytest.raises(CompressError, match="expected labels 0 to 6, found 9"):
        accuracy(front.classifier(), data, np.full(20, 9))
    with pytest.raises(CompressError, match="expected labels 0 to 6, found 9"):
        agreement(front.classifier(), front.classifier(), data, labels=np.full(20, 9))


def test_a_model_agrees_with_itself(data: Samples):
    found = agreement(front.classifier(), gs.import_onnx(front.classifier()), data)
    assert (found.samples, found.top1, found.error) == (20, 1.0, 0.0)


def test_agreement_and_error(data: Samples):
    left, right = front.classifier(seed=0), front.classifier(seed=5)
    found = agreement(left, right, data, batch=7)
    a, b = (builders.run(side, x=next(iter(data.batches(20)))["x"])["y"] for side in (left, right))
    assert found.top1 == (a.argmax(1) == b.argmax(1)).mean()
    assert found.error == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(a), rel=1e-5)


def test_choices(data: Samples):
    np.testing.assert_array_equal(choices(front.classifier(), data, batch=6), scores(data).argmax(1))


def test_class_scores():
    assert class_scores(np.zeros((2, 5, 1, 1), np.float32)) is not None
    assert class_scores(np.zeros((2, 5, 4, 4), np.float32)) is None
    assert class_scores(np.zeros((2, 1), np.float32)) is None
    assert class_scores(np.zeros((2, 5), np.int64)) is None


def test_outputs_of_other_shape(data: Samples):
    other = builders.proto("g (float[N,3,8,8] x) => (float[N,3] y) { p = GlobalMaxPool(x) y = Flatten(p) }")
    with pytest.raises(CompressError, match="outputs differ in shape"):
        agreement(front.classifier(), other, data)
