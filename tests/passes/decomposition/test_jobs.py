"""Where the work of a decomposition runs does not show in its result."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from onnx_compress import compress

NETWORK = """g (float[N,3,12,12] x) => (float[N,8,6,6] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    r = Relu(a)
    b = Conv<pads=[1,1,1,1], group=2>(r, w2)
    s = Relu(b)
    y = Conv<pads=[1,1,1,1], strides=[2,2]>(s, w3)
}"""


def compressed(pipeline: str, data: np.ndarray | None, **options: int | str) -> bytes:
    weights = [builders.normal(*shape) for shape in [(12, 3, 3, 3), (16, 6, 3, 3), (8, 16, 3, 3)]]
    network = builders.proto(NETWORK, **{f"w{i}": weight for i, weight in enumerate(weights, 1)})
    return compress(network, pipeline, data=data, **options).proto.SerializeToString(deterministic=True)  # type: ignore


@pytest.mark.parametrize("pipeline", ["basis:macs=0.5", "basis:rank=0.5:refit=none", "sbf:rank=0.5:refit=none"])
@pytest.mark.parametrize("data", [None, builders.normal(40, 3, 12, 12)], ids=["weights", "data"])
def test_same_bytes_for_any_number_of_workers(pipeline: str, data: np.ndarray | None) -> None:
    assert compressed(pipeline, data) == compressed(pipeline, data, jobs=2)


def test_same_bytes_on_a_dask_cluster() -> None:
    distributed = pytest.importorskip("distributed")
    data = builders.normal(40, 3, 12, 12)
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options, protocol="tcp", host="127.0.0.1") as cluster:
        address = cluster.scheduler_address.replace("tcp://", "dask://")
        assert compressed("basis:macs=0.5", data) == compressed("basis:macs=0.5", data, cluster=address)
