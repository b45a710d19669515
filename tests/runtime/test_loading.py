"""What onnxruntime calls invalid, and what it merely lacks."""

from __future__ import annotations

import numpy as np
import pytest
from builders import model, normal
from onnx_compress.compiler.errors import CompressError
from onnx_compress.runtime.loading import check_loads

INVALID = {
    "an axis": ("[bad] y = Concat<axis=9>(c, c)", "axis must be in"),
    "types": ("h = Cast<to=10>(c) [bad] y = Add(h, c)", "bound to different types"),
    "sizes": ("[bad] y = MatMul(c, m)", "Incompatible dimensions"),
    "a kernel that cannot start": ('r = Relu(c) [bad] y = Resize<mode="foo">(r, , s)', "mode attribute is foo"),
    "another one": ("r = Relu(c) [bad] y = LRN<size=2>(r)", "was false"),
}
LACKING = {
    "a plug-in": "[one] y = my.Op(c)",
    "a plug-in in ONNX's domain": "[one] y = BatchedNMS_TRT(c)",
    "an operator of other vendors": "[one] y = com.microsoft.Nothing(c)",
}


def network(body: str):
    stored = {"w": normal(4, 3, 1, 1), "m": normal(5, 5), "s": np.ones(4, np.float32)}
    words = body.replace("(", " ").replace(")", " ").replace(",", " ").split()
    used = {name: values for name, values in stored.items() if name in (*words, "w")}
    text = f"g (float[N,3,8,8] x) => (float y) {{ c = Conv(x, w) {body} }}"
    return model(text, domains=', "my" : 1, "com.microsoft" : 1', **used)


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_model_is_refused_at_its_node(case: str):
    body, reason = INVALID[case]
    with pytest.raises(CompressError, match=reason) as caught:
        check_loads(network(body))
    assert caught.value.where == "node 'bad'"
    assert "ONNXRuntimeError" not in caught.value.what


@pytest.mark.parametrize("case", LACKING)
def test_what_onnxruntime_lacks_passes(case: str):
    check_loads(network(LACKING[case]))


def test_big_weights_are_not_handed_over(monkeypatch: pytest.MonkeyPatch):
    """Only where the small model fails is the whole one tried."""
    monkeypatch.setattr("onnx_compress.runtime.loading.model_session", None)
    check_loads(model("g (float[N,64,8,8] x) => (float[N,64,8,8] y) { y = Conv(x, w) }", w=normal(64, 64, 1, 1)))
