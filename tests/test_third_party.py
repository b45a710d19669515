"""Networks that others made: what comes out passes the target's lint and TensorRT's parser and builder.

See `third_party` for the networks. Those that cannot be compressed are refused for a reason that is theirs.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_compress import CompressError, compress
from onnx_compress.compiler.lint import lint
from onnx_compress.compiler.targets import TARGETS
from onnx_compress.runtime.tensorrt.rtx import available, check_engine
from third_party import NETWORKS, Network

if not available():
    pytest.skip("TensorRT for RTX is not installed", allow_module_level=True)


REFUSED = (
    (Network("onnx-asr", "kaldi.onnx"), "the model has no Conv"),
    (Network("onnx-asr", "resample_11_16.onnx"), "weight is computed by Unsqueeze"),
    (Network("silero-vad", "silero_vad.onnx"), "no Conv but those inside a subgraph of If"),
    (Network("onnx", "light_bvlc_alexnet.onnx"), "weight is computed by ConstantOfShape"),
)


def accepted(network: Network, pipeline: str, target: str, folder: Path) -> None:
    output = folder / "net.onnx"
    rng = np.random.default_rng(0)
    samples = {name: rng.uniform(-1, 1, (2, *shape[1:])).astype(np.float32) for name, shape in network.shapes.items()}
    compress(network.path(), pipeline, target=target, output=output, data=samples if network.calibrated else None)
    errors = [finding for finding in lint(onnx.load(output), TARGETS[target]) if finding.severity == "error"]
    assert not errors
    if network.calibrated and TARGETS[target].asymmetric_activations:  # TensorRT takes no uint8
        return
    check = check_engine(output, shapes=network.shapes)
    assert check.parsed and check.built, check.messages


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.file)
def test_quantized_networks_build(network: Network, tmp_path: Path):
    accepted(network, "quantize", "xavier", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.file)
def test_factorized_and_quantized_networks_build(network: Network, target: str, tmp_path: Path):
    """TensorRT 8.0 pads with zeros only, by constants, and has no ScatterElements."""
    size = ":energy=0.9" if network.calibrated else ""  # by itself it is chosen by class scores, which that one lacks
    try:
        accepted(network, f"basis{size},quantize", target, tmp_path)
    except CompressError as error:
        assert target == "xavier-8.0" and "xavier-8.0 cannot take it" in str(error)
        assert re.search(r"pads by reflect|pads is computed|no ScatterElements", str(error))


@pytest.mark.parametrize(("network", "reason"), REFUSED, ids=lambda value: getattr(value, "file", ""))
def test_refusals_say_why(network: Network, reason: str):
    with pytest.raises(CompressError, match=reason):
        compress(network.path(), "quantize")
