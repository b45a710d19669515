"""A run without fits: what it says of nodes is what a run does, in what time, and that nothing is written."""

from __future__ import annotations

from pathlib import Path

import front
import pytest
from onnx_compress import compress
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.progress import silent
from onnx_compress.compiler.pipeline.registry import BUILTIN
from onnx_compress.drivers.outlook import Outlook, outlook

NETWORK = Path(__file__).parents[2] / "models" / "resnet20_cifar10.onnx"
DATA = f"{NETWORK.with_name('cifar10_sample.npz')}#train_images"
HALF = {"basis": ":macs=0.5", "prune": ":macs=0.7", "sbf": ":macs=0.8", "sparse-lowrank": ":macs=0.8"}
SPELLED = {name: f"{name}{HALF.get(name, '')}" for name in BUILTIN if name not in ("finetune", "filter-summary")}


def foreseen(pipeline: str, **options: object) -> Outlook:
    return outlook(NETWORK, pipeline, RunOptions.of({"preprocess": "cifar10", "data": DATA, **options}), silent)


@pytest.mark.parametrize("name", SPELLED)
def test_what_is_skipped_is_skipped_in_a_run(name: str):
    options = {"exclude": "layer3", "samples": 16} if name != "legalize" else {"samples": 16}
    (told,) = [entry for entry in foreseen(SPELLED[name], **options).passes if entry.spec == SPELLED[name]][-1:]
    skipped = {node for node, text in told.nodes.items() if text.startswith("skipped")}
    assert (len(skipped) > 3) == (name not in ("cleanup", "fold-batchnorm", "legalize"))
    if name == "quantize":
        done = compress(NETWORK, SPELLED[name], data=DATA, preprocess="cifar10", **options)
        found = {each.node for entry in done.records for each in entry.result.decisions if each.action == "skipped"}
        assert skipped == found


def test_times_of_the_network_and_of_the_run():
    found = foreseen("depth:agreement=0.9,prune:latency=0.8,quantize", samples=64)
    depth, prune = (entry.budget for entry in found.passes if entry.spec.startswith(("depth", "prune")))
    assert depth == "as far as agreement=0.9 allows" and prune.startswith("at most 0.41 ms, 0.8 of")
    assert found.before == pytest.approx(0.566, abs=1e-3) and found.after == pytest.approx(0.513, abs=1e-3)
    assert found.seconds is not None and 0 < 4 * found.seconds[0] < found.seconds[1]
    limited = foreseen("prune:latency=0.8,quantize", samples=64).seconds
    assert limited is not None and limited[1] == pytest.approx(4 * limited[0]), "no trials"
    trained = foreseen("finetune:few:steps=100:samples=64", samples=64).seconds
    longer = foreseen("finetune:few:steps=1000000:samples=64", samples=64).seconds
    assert trained is not None and longer is not None and longer[0] > 10 * trained[0] > 0, "steps are counted"
    assert foreseen("finetune:minutes=30:samples=64", samples=64).seconds == (900, 1800)
    assert outlook(NETWORK, "quantize", RunOptions(), silent).seconds is None, "without samples"


def test_nothing_is_written_and_what_cannot_be_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    written, options = (
        tmp_path / "small.onnx",
        ("--data", DATA, "--samples", 64, "--preprocess", "cifar10", "--dry-run"),
    )
    assert front.call(NETWORK, "-p", "quantize", "-o", written, *options) == 0
    shown = capsys.readouterr().out
    assert "/fc/Gemm: INT8" in shown and "time of the run, estimated: " in shown and "nothing was fitted" in shown
    assert not list(tmp_path.iterdir())
    written.touch()
    assert front.call(NETWORK, "-p", "quantize", "-o", written, *options) == 2
    assert front.call(NETWORK, "--dry-run", "--json") == 2
