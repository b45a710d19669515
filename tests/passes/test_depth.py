"""The depth pass: the block that does nothing goes first and costs nothing, budgets hold, what stays says why."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import builders
import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx_compress.api import Compressed, compress
from onnx_compress.compiler.costs.network_cost import graph_cost
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.io import Model, from_proto, to_proto
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.data import Feeds
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.spec import parse_pipeline
from onnx_compress.passes import depth
from onnx_compress.runtime.segmented_executor import SegmentedExecutor
from training_stand_ins import installed

BLOCKS = 4


def text(blocks: int = BLOCKS) -> str:
    """A stem, residual blocks of two Convs, and a classifier."""
    lines = ["t0 = Conv<pads=[1,1,1,1]>(x, w0)", "x0 = Relu(t0)"]
    for i in range(1, blocks + 1):
        lines += [f"a{i} = Conv<pads=[1,1,1,1]>(x{i - 1}, u{i})", f"r{i} = Relu(a{i})"]
        lines += [f"b{i} = Conv<pads=[1,1,1,1]>(r{i}, v{i})", f"s{i} = Add(x{i - 1}, b{i})", f"x{i} = Relu(s{i})"]
    lines += [
        f"p = MaxPool<kernel_shape=[4,4], strides=[4,4]>(x{blocks})",
        "f = Flatten(p)",
        "y = Gemm<transB=1>(f, w9)",
    ]
    return f"g (float[N,3,8,8] x) => (float[N,6] y) {{ {' '.join(lines)} }}"


def weights(zero: int | None = None, blocks: int = BLOCKS, scale: float = 0.5) -> dict[str, np.ndarray]:
    """`zero`: the block whose last layer is zero."""
    shapes: dict[str, tuple[int, ...]] = {"w0": (8, 3, 3, 3), "w9": (6, 32)}
    shapes |= {f"{name}{i}": (8, 8, 3, 3) for i in range(1, blocks + 1) for name in "uv"}
    found = {
        name: builders.normal(*shape, seed=i) / np.float32(np.sqrt(prod(shape[1:])))
        for i, (name, shape) in enumerate(shapes.items())
    }
    found |= {name: value * np.float32(scale) for name, value in found.items() if name[0] == "v"}
    return found | ({} if zero is None else {f"v{zero}": np.zeros((8, 8, 3, 3), np.float32)})


def network(zero: int | None = None) -> onnx.ModelProto:
    return builders.proto(text(), **weights(zero))


def images(count: int = 128) -> builders.Images:
    return builders.Images(builders.normal(count, 3, 8, 8, seed=9))


def apply(
    spec: str, data: builders.Images | None = None, proto: onnx.ModelProto | None = None, **options: str
) -> tuple[Model, PassResult]:
    model = from_proto(network() if proto is None else proto)
    (entry,) = parse_pipeline(spec)
    given = RunOptions(**options) if data is None else RunOptions(data=data.x, **options)
    result = entry.run(model.graph, Context(given, data, original=model.graph.copy()))
    return model, result


def of_depth(result: Compressed) -> PassResult:
    return next(record.result for record in result.records if record.name == "depth")


def kept(model: Model) -> float:
    before, after = (graph_cost(g, infer_shapes(g)) for g in (from_proto(network()).graph, model.graph))
    assert before.macs and after.macs is not None
    return after.macs / before.macs


def removed(result: PassResult) -> list[str]:
    """The sums whose blocks went, in the order in which they went."""
    return [d.node for d in result.decisions if d.action == "removed" and "lost" in d.figures]


def distance(model: Model, proto: onnx.ModelProto | None = None) -> float:
    x = images(64).x
    a, b = builders.run(network() if proto is None else proto, x=x)["y"], builders.run(model, x=x)["y"]
    return float(np.linalg.norm(a - b) / np.linalg.norm(a))


def joins(graph_text: str = text()) -> list[str]:
    return [node.name for node in builders.model(graph_text, **weights()).graph.nodes if node.op == "Add"]


@pytest.mark.parametrize("data", [None, images()], ids=["without data", "with data"])
@pytest.mark.parametrize("zero", [1, 3])
def test_a_branch_that_is_zero_goes_first_and_changes_nothing(zero: int, data: builders.Images | None) -> None:
    proto = network(zero)
    model, result = apply("depth:blocks=1:repair=none", data, proto)
    assert removed(result) == [joins()[zero - 1]]
    assert all(float(d.figures["lost"]) < 1e-12 for d in result.decisions if "lost" in d.figures)
    assert distance(model, proto) == 0
    assert distance(apply("depth:blocks=1", data, proto)[0], proto) < 1e-4


def test_repair_brings_the_outputs_closer() -> None:
    none, refit = (apply(f"depth:blocks=2:repair={each}", images()) for each in ("none", "refit"))
    assert distance(refit[0]) < 0.7 * distance(none[0])
    assert {d.action for d in none[1].decisions} == {"removed", "kept"}
    assert "refitted" in {d.action for d in refit[1].decisions}


@pytest.mark.parametrize("spec", ["macs=0.6", "macs=0.8:latency=0.9", "params=0.7", "bytes=0.75", "latency=0.8"])
@pytest.mark.parametrize("data", [None, images()], ids=["without data", "with data"])
def test_limits_hold_and_are_used(spec: str, data: builders.Images | None) -> None:
    model, result = apply(f"depth:{spec}", data)
    for limit in spec.split(":"):
        unit, share = limit.split("=")
        assert result.metrics[f"{unit}_kept"] <= float(share)
    assert result.metrics["macs_kept"] == pytest.approx(kept(model))
    assert 0 < len(removed(result)) < BLOCKS


def merged(result: PassResult) -> int:
    return int(result.metrics.get("blocks_merged", 0))


def test_merged_blocks_lose_less_than_removed_ones() -> None:
    (model, result), (_, apart) = (apply(f"depth:latency=0.9{more}", images()) for more in ("", ":merge=false"))
    lost = [max(float(d.figures["lost"]) for d in each.decisions if "lost" in d.figures) for each in (result, apart)]
    assert merged(result) > 0 == merged(apart) and result.metrics["latency_kept"] <= 0.9
    assert lost[0] < 0.5 * lost[1]
    assert kept(model) > 0.9
    reasons = [d.reason for d in result.decisions if d.action == "removed"]
    assert sum(reason.startswith("merged with ") for reason in reasons) == 4 * merged(result)


@pytest.mark.parametrize("limit", ["macs=0.7", "params=0.7", "blocks=2"])
def test_only_time_makes_blocks_wide(limit: str) -> None:
    _, result = apply(f"depth:{limit}", images())
    assert merged(result) == 0 < result.metrics["blocks_removed"]


def test_merging_goes_on_with_wide_blocks_and_so_does_removal() -> None:
    model, result = apply("depth:latency=0.55", images())
    assert merged(result) + result.metrics["blocks_removed"] >= 3
    assert sum(node.op == "Conv" for node in model.graph.nodes) <= 3


def test_the_time_of_wide_blocks_is_that_of_the_network_that_is_written() -> None:
    result = compress(network(), "depth:latency=0.8", data=images().x)
    (entry,) = (record for record in result.records if record.name == "depth")
    assert merged(entry.result) and entry.result.metrics["latency_kept"] <= 0.8
    assert distance(result.model) < 0.5


@pytest.mark.parametrize("spec", ["agreement=0.7", "error=0.5", "agreement=0.999"])
def test_as_many_as_held_out_samples_allow(spec: str) -> None:
    _, result = apply(f"depth:{spec}", images(256), network(2))
    rule, value = spec.split("=")
    found = result.metrics[rule]
    assert found >= float(value) if rule == "agreement" else found <= float(value)
    assert joins()[1] in removed(result)
    assert result.metrics["trials"] >= 1


def test_a_budget_of_quality_that_no_block_keeps() -> None:
    model, result = apply("depth:agreement=1.0", images(256))
    assert not result.changed and distance(model) == 0
    assert result.notes[0].startswith("agreement=1 cannot be reached")
    with pytest.raises(CompressError, match=r"agreement=1 cannot be reached"):
        apply("depth:agreement=1.0:objective=macs", images(256))


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, second = (to_proto(apply("depth:macs=0.7", images())[0]).SerializeToString() for _ in range(2))
    assert first == second


def test_without_budget_and_data_nothing_happens() -> None:
    model, result = apply("depth")
    assert not result.changed and distance(model) == 0
    assert "nothing is done" in result.notes[0]


def test_without_data_it_says_that_it_is_blind() -> None:
    _, result = apply("depth:blocks=1")
    assert depth.BLIND in result.notes


def test_too_many_blocks_are_refused() -> None:
    with pytest.raises(CompressError, match=r"blocks=5 cannot be reached.*4"):
        apply("depth:blocks=5", images())


def test_an_impossible_budget_names_the_smallest() -> None:
    with pytest.raises(CompressError, match=r"the smallest network without blocks is macs=0\.\d+"):
        apply("depth:macs=0.01", images())


def test_a_budget_that_is_met_changes_nothing() -> None:
    model, result = apply("depth:macs=1.0", images())
    assert not result.changed and distance(model) == 0
    assert "it changes nothing" in result.notes[0]
    assert {d.action for d in result.decisions} == {"kept"}


def test_networks_without_blocks_stay_with_a_note() -> None:
    plain = builders.proto(
        "g (float[N,3,8,8] x) => (float[N,4,6,6] y) { a = Conv(x, w) y = Relu(a) }", w=builders.normal(4, 3, 3, 3)
    )
    _, result = apply("depth:blocks=1", images(), plain)
    assert not result.changed and result.notes == [depth.NONE]


def test_blocks_out_of_scope_stay() -> None:
    excluded = [node.name for node in from_proto(network()).graph.nodes if node.op == "Conv"][1]
    _, result = apply("depth:blocks=3", images(), exclude=f"^{excluded}$")
    assert joins()[0] not in removed(result)
    reasons = {d.node: d.reason for d in result.decisions if d.action == "skipped"}
    assert "--exclude" in reasons[joins()[0]]


def test_held_nodes_stay_when_blocks_are_written() -> None:
    model, (entry,) = from_proto(network()), parse_pipeline("depth:blocks=4:repair=none")
    held = frozenset(joins()[:1])
    result = entry.run(model.graph, Context(data=images(), original=model.graph.copy(), held=held))
    assert [node.name for node in model.graph.nodes if node.op == "Add"] == [*held]
    assert held.isdisjoint(removed(result))


@pytest.mark.parametrize("layers", [False, True])
def test_single_layers_go_where_they_are_asked_for(layers: bool) -> None:
    chain = (
        "a = Conv<pads=[1,1,1,1]>(x, w) b = Relu(a) c = Conv<pads=[1,1,1,1]>(b, u) d = Relu(c) y = GlobalAveragePool(d)"
    )
    proto = builders.proto(
        f"g (float[N,3,8,8] x) => (float[N,8,1,1] y) {{ {chain} }}",
        w=builders.normal(8, 3, 3, 3),
        u=builders.normal(8, 8, 3, 3),
    )
    model, result = apply(f"depth:blocks=1:layers={str(layers).lower()}", images(), proto) if layers else (None, None)
    if model is None or result is None:
        _, result = apply("depth:blocks=1", images(), proto)
        assert [d.reason for d in result.decisions] == ["a single layer: layers=true lets it go"]
        return
    assert sum(node.op == "Conv" for node in model.graph.nodes) == 1
    assert distance(model, proto) < 1


def test_a_weight_that_a_removed_branch_shares_stays_for_the_others() -> None:
    shared = {name: value for name, value in weights(2).items() if name != "u3"}
    proto = builders.proto(text().replace("u3", "u2"), **shared)
    model, result = apply("depth:blocks=1:repair=none", images(), proto)
    assert removed(result) == [joins()[1]]
    assert distance(model, proto) == 0


def test_several_outputs_one_of_them_a_sum_that_goes() -> None:
    body = text().replace("=> (float[N,6] y)", "=> (float[N,6] y, float[N,8,8,8] s2)")
    proto = builders.proto(body, **weights(2))
    model, result = apply("depth:blocks=1:repair=none", images(), proto)
    x = images(4).x
    before, after = builders.run(proto, x=x), builders.run(model, x=x)
    assert removed(result) == [joins()[1]]
    assert {name: value.shape for name, value in after.items()} == {name: value.shape for name, value in before.items()}
    np.testing.assert_array_equal(after["y"], before["y"])


def test_in_a_pipeline_with_other_passes(tmp_path_factory: pytest.TempPathFactory) -> None:
    result = compress(network(), "depth:macs=0.8,prune:macs=0.6,quantize", data=images(96).x)
    shares = [record.result.metrics.get("macs_kept") for record in result.records if record.name in ("depth", "prune")]
    assert shares[0] is not None and shares[1] is not None and shares[1] <= 0.6 < shares[0] <= 0.8


def test_with_every_other_pass_of_a_recipe() -> None:
    result = compress(network(), "depth:blocks=1,prune:macs=0.6,basis:macs=0.5,quantize", data=images(96).x)
    kept = [record.result.metrics["macs_kept"] for record in result.records if "macs_kept" in record.result.metrics]
    assert len(kept) == 3 and kept[2] <= 0.5 < kept[1] <= 0.6 < kept[0]
    assert of_depth(result).metrics["blocks_removed"] == 1
    assert distance(result.model) < 1


@pytest.mark.skipif(not installed("torch"), reason="the engine torch is not installed")
def test_training_goes_on_with_what_is_left() -> None:
    spec = "depth:blocks=1,finetune:engine=torch:epochs=1:threads=1"
    result = compress(network(2), spec, data=images(96).x)
    assert removed(of_depth(result)) == [joins()[1]]
    assert distance(result.model, network(2)) < 0.5


@pytest.mark.parametrize("sizes", ["8,8", "H,W"], ids=["fixed sizes", "open sizes"])
@pytest.mark.parametrize("samples", ["N", "8"], ids=["open batch", "fixed batch"])
def test_open_and_fixed_sizes_give_the_same_network(sizes: str, samples: str) -> None:
    body = text().replace("[N,3,8,8]", f"[{samples},3,{sizes}]").replace("[N,6]", f"[{samples},6]")
    body = body.replace("p = MaxPool<kernel_shape=[4,4], strides=[4,4]>(x4)", "p = GlobalAveragePool(x4)")
    proto = builders.proto(body, **(weights(3) | {"w9": builders.normal(6, 8)}))
    found = compress(proto, "depth:blocks=1", data=images(96).x)
    assert removed(of_depth(found)) == [joins()[2]]
    x = images(8).x
    before, after = (builders.run(each, x=x)["y"] for each in (proto, found.model))
    np.testing.assert_allclose(after, before, atol=1e-3)


def test_little_waits_in_memory_and_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, made, bounds = to_proto(apply("depth:blocks=2", images())[0]), SegmentedExecutor.__init__, set[int]()

    def recorded(executor: SegmentedExecutor, graph: gs.Graph, batches: Iterable[Feeds], memory: int) -> None:
        bounds.add(memory)
        made(executor, graph, batches, memory)

    monkeypatch.setattr(depth, "HELD", 2**12)
    monkeypatch.setattr(SegmentedExecutor, "__init__", recorded)
    assert to_proto(apply("depth:blocks=2", images())[0]).SerializeToString() == plain.SerializeToString()
    assert bounds == {2**12}


@pytest.mark.parametrize("repair", ["none", "refit"])
def test_weights_in_fp16_stay_in_fp16(repair: str) -> None:
    half = {name: value.astype(np.float16) for name, value in weights(2).items()}
    proto = builders.proto(text().replace("float[", "float16["), **half)
    data = builders.Images(images().x.astype(np.float16))
    model, result = apply(f"depth:blocks=2:repair={repair}", data, proto)
    assert removed(result)[0] == joins()[1] and len(removed(result)) == 2
    stored = to_proto(model).graph.initializer
    assert {tensor.data_type for tensor in stored} == {onnx.TensorProto.FLOAT16}
    x = data.x[:64]
    before, after = (builders.run(each, x=x)["y"].astype(np.float32) for each in (proto, model))
    assert np.linalg.norm(after - before) < 0.6 * np.linalg.norm(before)


def test_wide_blocks_in_fp16_stay_in_fp16() -> None:
    half = {name: value.astype(np.float16) for name, value in weights(2).items()}
    proto = builders.proto(text().replace("float[", "float16["), **half)
    model, result = apply("depth:latency=0.95", builders.Images(images().x.astype(np.float16)), proto)
    assert merged(result)
    assert {tensor.data_type for tensor in to_proto(model).graph.initializer} == {onnx.TensorProto.FLOAT16}


def test_blocks_out_of_scope_are_not_merged() -> None:
    excluded = [node.name for node in from_proto(network()).graph.nodes if node.op == "Conv"][3]
    model, result = apply("depth:latency=0.9", images(), exclude=f"^{excluded}$")
    (stayed,) = (node for node in model.graph.nodes if node.name == excluded)
    assert merged(result) and stayed.inputs[1].shape == (8, 8, 3, 3)


def test_after_quantize_it_is_refused() -> None:
    with pytest.raises(CompressError, match="depth before quantize"):
        compress(network(), "quantize,depth:blocks=1", data=images(96).x)


@pytest.mark.parametrize("option", ["align=8", "energy=0.9", "sensitivity=output"])
def test_options_without_meaning_are_none(option: str) -> None:
    with pytest.raises(CompressError, match="has no option"):
        parse_pipeline(f"depth:{option}")


def test_one_budget_or_another() -> None:
    with pytest.raises(CompressError, match="macs and blocks are given"):
        parse_pipeline("depth:blocks=2:macs=0.5")


def test_a_shortcut_that_is_fitted_behind_the_layer_before_a_gap() -> None:
    """The layer in front of the gap is fitted to what left the block, and the projection beside it comes after it."""
    shapes = {"a": (8, 3, 3, 3), "b": (8, 8, 3, 3), "c": (12, 8, 3, 3), "p": (12, 8, 1, 1), "g": (6, 12)}
    shapes |= dict.fromkeys("de", (12, 12, 3, 3))
    graph = """g (float[N,3,8,8] x) => (float[N,6] y) {
        a1 = Conv<pads=[1,1,1,1]>(x, a)
        r1 = Relu(a1)
        b1 = Conv<pads=[1,1,1,1]>(r1, b)
        s1 = Relu(b1)
        c1 = Conv<pads=[1,1,1,1]>(s1, c)
        p1 = Conv(r1, p)
        t1 = Add(c1, p1)
        u1 = Relu(t1)
        d1 = Conv<pads=[1,1,1,1]>(u1, d)
        v1 = Relu(d1)
        e1 = Conv<pads=[1,1,1,1]>(v1, e)
        w1 = Add(e1, u1)
        z1 = Relu(w1)
        m = GlobalAveragePool(z1)
        f = Flatten(m)
        y = Gemm<transB=1>(f, g)
    }"""
    proto = builders.proto(graph, **{name: builders.normal(*shape) for name, shape in shapes.items()})
    _, result = apply("depth:blocks=1", images(), proto)
    assert removed(result) == ["Add_11"]
