"""Every option of a run reaches what uses it, the key of a resumed run, the report, a config file and the command that
repeats the run."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import builders
import front
import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx_compress import Context, Decision, Pass, PassResult, RunOptions, UsageError, bisect, compress, frontier
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.pipeline import registry
from onnx_compress.compiler.pipeline.commands import command_line, python_call
from onnx_compress.compiler.pipeline.options import flag_of
from onnx_compress.compiler.pipeline.progress import silent
from onnx_compress.compiler.pipeline.reproduction import pass_alone
from onnx_compress.compiler.report import QualityReport
from onnx_compress.drivers import compress as driver
from onnx_compress.drivers.compress import Compressed, identity
from onnx_compress.drivers.setup import set_up
from onnx_compress.passes.basis import Basis

FIELDS = {entry.name: entry for entry in fields(RunOptions)}
MODEL = "g (float[N,3,8,8] x) => (float[N,7] y) { t = Conv<pads=[1,1,1,1]>(x, w) i = Identity(t) r = Relu(i) "
MODEL += "p = GlobalAveragePool(r) f = Flatten(p) y = Gemm<transB=1>(f, v) }"


@dataclass(frozen=True)
class Look(Pass):
    """Keeps the context that it is given, and decides on every Conv by scope and settings."""

    name: ClassVar[str] = "look"
    per_node: ClassVar[frozenset[str]] = frozenset(("skip", "depth"))
    depth: int = 0
    seen: ClassVar[list[Context]] = []

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        self.seen.append(ctx)
        if self.depth < 0:
            raise ValueError("as asked")
        convs = [node.name for node in graph.nodes if node.op == "Conv"]
        reasons = {name: ctx.out_of_scope(name) for name in convs}
        return PassResult(decisions=[Decision(name, "skipped", why or "") for name, why in reasons.items()])


@dataclass(frozen=True)
class Run:
    """A finished run, and the folder that it ran in."""

    folder: Path
    result: Compressed
    ctx: Context

    @property
    def reason(self) -> str:
        (record,) = (record for record in self.result.records if record.name == "look")
        return record.result.decisions[0].reason


@dataclass(frozen=True)
class Example:
    """A value of an option, what else it needs, and what shows that it was heeded."""

    value: Any
    heeded: Callable[[Run], bool]
    needs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    model: str = "m.onnx"
    passes: tuple[Pass, ...] = ()


SAMPLES = {"data": "d.npz"}
EXAMPLES: dict[str, Example] = {
    "output": Example("o.onnx", lambda run: (run.folder / "o.onnx").is_file()),
    "target": Example("trt10", lambda run: run.ctx.target.name == run.result.report["target"]["name"] == "trt10"),
    "data": Example("d.npz#other", lambda run: run.ctx.data is not None and run.ctx.data.samples == 6),
    "samples": Example(5, lambda run: run.ctx.data is not None and run.ctx.data.samples == 5, SAMPLES),
    "labels": Example("classes", lambda run: labels(run) == [1] * 8, {"data": "d.npz#images"}),
    "metric": Example("error", lambda run: quality(run)["metric"] == "error", SAMPLES),
    "preprocess": Example("cifar10", lambda run: run.result.report["data"]["preprocess"] is not None, SAMPLES),
    "include": Example("other|^Gemm", lambda run: "not matched by --include" in run.reason),
    "exclude": Example("^Conv", lambda run: "excluded by --exclude" in run.reason),
    "overrides": Example(("^Conv:look.skip=true",), lambda run: "left alone by --set" in run.reason),
    "plugins": Example(("plugin.py",), lambda run: "found" in registry.names()),
    "report": Example("r.json", lambda run: json.loads((run.folder / "r.json").read_text())["seed"] == 0),
    "dump_dir": Example("dumps", lambda run: (run.folder / "dumps" / "004-look.onnx").is_file()),
    "keep_going": Example(True, lambda run: "was left out" in run.result.records[3].result.notes[0]),
    "prepare": Example(False, lambda run: run.result.records[0].name == "look"),
    "legalize": Example(False, lambda run: run.result.records[-1].name == "look"),
    "plugin_operators": Example(("Mine",), lambda run: True, model="mine.onnx"),
    "shapes": Example(
        ("x:1x3x8x8",), lambda run: run.result.report["before"]["macs"] == 16 * 27 * 8 * 8, model="open.onnx"
    ),
    "power_mode": Example("10W", lambda run: run.result.report["before"]["latency"]["mode"] == "10W"),
    "jobs": Example(2, lambda run: run.ctx.jobs.count == 2),
    "cluster": Example("dask://nowhere:1", lambda run: run.ctx.jobs.cluster == "dask://nowhere:1"),
    "memory": Example("8GB", lambda run: run.ctx.data is not None and run.ctx.data.largest_batch is not None, SAMPLES),
    "sensitivity_file": Example(
        "table.json", lambda run: (run.folder / "table.json").is_file(), SAMPLES, passes=(Basis(rank=0.5),)
    ),
    "seed": Example(3, lambda run: run.ctx.rng().random() == np.random.default_rng(3).random()),
    "overwrite": Example(True, lambda run: (run.folder / "old.onnx").stat().st_size > 3, {"output": "old.onnx"}),
}
BY_CONTENT = {"data", "samples", "labels", "preprocess", "memory"}


def quality(run: Run) -> QualityReport:
    assert run.result.report["quality"] is not None
    return run.result.report["quality"]


def labels(run: Run) -> list[int]:
    assert run.ctx.data is not None and run.ctx.data.labels is not None
    return run.ctx.data.labels.tolist()


def with_open_sizes(proto: onnx.ModelProto) -> onnx.ModelProto:
    found = onnx.ModelProto.FromString(proto.SerializeToString())
    for dim in found.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.Clear()
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model, samples, a plug-in and an old file, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(registry._registered, "found", raising=False)
    w, v = builders.normal(16, 3, 3, 3), builders.normal(7, 16)
    proto = builders.proto(MODEL, w=w, v=v)
    for index, node in enumerate(proto.graph.node):
        node.name = f"{node.op_type}_{index}"
    onnx.save(proto, "m.onnx")
    onnx.save(with_open_sizes(proto), "open.onnx")
    proto.graph.node.insert(0, onnx.helper.make_node("Mine", ["x"], ["m"], "Mine_0", domain="my"))
    proto.graph.node[1].input[0] = "m"
    proto.opset_import.append(onnx.helper.make_opsetid("my", 1))
    onnx.save(proto, "mine.onnx")
    arrays = {"labels": np.zeros(8, int), "classes": np.ones(8, int)}
    np.savez("d.npz", images=front.images(8), other=front.images(6), **arrays)
    Path("plugin.py").write_text(Path(front.ZERO_SMALL).read_text().replace("zero-small", "found"))
    Path("old.onnx").write_text("old")
    return tmp_path


def options_of(name: str, example: Example) -> RunOptions:
    return RunOptions.of({**example.needs, name: example.value})


def run(folder: Path, example: Example, options: RunOptions) -> Run:
    Look.seen.clear()
    entry = Look(depth=-1) if options.keep_going else Look()
    result = driver.compress(example.model, [entry, *example.passes], options, silent, "typed")
    return Run(folder, result, Look.seen[-1])


def test_every_option_has_an_example() -> None:
    assert list(EXAMPLES) == list(FIELDS)


@pytest.mark.parametrize(("name", "example"), EXAMPLES.items(), ids=EXAMPLES)
def test_it_is_heeded_and_in_the_report(folder: Path, name: str, example: Example) -> None:
    done = run(folder, example, options_of(name, example))
    assert example.value != FIELDS[name].default
    assert example.heeded(done)
    found = json.loads(json.dumps(done.result.report["options"]))
    assert found[name] == (list(example.value) if isinstance(example.value, tuple) else example.value)
    assert set(found) == set(FIELDS)


def test_an_operator_that_the_engine_lacks_is_refused_where_no_option_names_it(folder: Path) -> None:
    with pytest.raises(CompressError, match="Mine"):
        run(folder, EXAMPLES["plugin_operators"], RunOptions())


@pytest.mark.parametrize(("name", "example"), EXAMPLES.items(), ids=EXAMPLES)
def test_a_run_is_resumed_under_the_same_value_only_where_it_decides(
    folder: Path, name: str, example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[list[object]] = []
    for options in (RunOptions.of(example.needs), options_of(name, example)):
        setup = set_up("m.onnx", [Look()], options, silent, lambda *_: [])
        keys.append(identity(setup.source, setup.ctx))
    assert (keys[0] != keys[1]) == (flag_of(FIELDS[name]).decides or name in BY_CONTENT)


@pytest.mark.parametrize(("name", "example"), EXAMPLES.items(), ids=EXAMPLES)
def test_the_command_and_a_config_file_give_it_again(
    folder: Path, name: str, example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = options_of(name, example)
    typed: list[RunOptions] = []

    def caught(model: str, pipeline: str, options: RunOptions, *rest: object) -> Compressed:
        typed.append(options)
        raise UsageError("caught", "here")

    monkeypatch.setattr(driver, "compress", caught)
    command = shlex.split(command_line("m.onnx", "cleanup", options))
    assert command[:4] == ["onnx-compress", "m.onnx", "-p", "cleanup"]
    unspoken = [] if flag_of(FIELDS[name]).repeated else [f"--{name}", example.value]
    assert front.call(*command[1:], *(word for word in unspoken if word is not True)) == 2
    assert (flag_of(FIELDS[name]).names[0] in command) == flag_of(FIELDS[name]).repeated
    assert replace(typed[0], output=options.output) == options
    if name != "output":
        assert typed[0].output == (options.output or "m.compressed.onnx"), "the default is beside the model"


@pytest.mark.parametrize(("name", "example"), EXAMPLES.items(), ids=EXAMPLES)
def test_a_config_file_has_a_key_for_it(
    folder: Path, name: str, example: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    flag = flag_of(FIELDS[name]).names[0]
    value = example.value[0] if isinstance(example.value, tuple) else example.value
    assert front.call("m.onnx", flag, *([] if isinstance(value, bool) else [value]), "--print-config") == 0
    shown = capsys.readouterr().out
    assert f"{flag[2:]} = " in shown
    Path("c.toml").write_text(shown)
    assert front.call("m.onnx", "--config", "c.toml", "--print-config") == 0
    assert capsys.readouterr().out == shown


def test_a_call_from_python_is_spelled_with_what_differs_from_the_defaults() -> None:
    options = RunOptions.of({"target": "ort", "overrides": ["a:basis.rank=2"], "data": np.zeros(3), "prepare": False})
    call = python_call("m.onnx", "basis", options)
    assert call == "compress('m.onnx', 'basis', target='ort', data=..., overrides=['a:basis.rank=2'], prepare=False)"


def test_what_repeats_a_pass_without_data_can_be_typed_even_after_all_samples_were_asked_for() -> None:
    command = pass_alone(Path("m.onnx"), Look(), Context(RunOptions(samples=None)))
    assert command == "onnx-compress m.onnx -p look --no-prepare --no-legalize"


def test_signatures_show_the_defaults_of_each_function() -> None:
    for function, samples, jobs in ((compress, 1168, 1), (frontier, 2336, -1), (bisect, 1168, 1)):
        shown = inspect.signature(function).parameters
        assert (shown["samples"].default, shown["jobs"].default) == (samples, jobs)
    assert "dump_dir" not in inspect.signature(frontier).parameters


def test_paths_are_text_wherever_they_stand() -> None:
    options = RunOptions.of({"plugins": [Path("a.py"), "b.py"], "output": Path("o.onnx"), "data": Path("d.npz")})
    assert (options.plugins, options.output, options.data) == (("a.py", "b.py"), "o.onnx", "d.npz")


def test_unknown_options_are_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no option 'targets' \(did you mean 'target'"):
        compress("m.onnx", targets="ort")


@pytest.mark.parametrize(("name", "option"), [("frontier", "dump_dir"), ("bisect", "report")])
def test_what_a_driver_would_not_heed_is_refused(name: str, option: str) -> None:
    with pytest.raises(UsageError, match=f"{name} takes no {option}"):
        RunOptions.of({option: "d"}).refuse_unused(name)


def test_the_power_mode_of_the_run_divides_the_budget_of_its_passes(tmp_path: Path) -> None:
    weights = {f"w{index}": builders.normal(256, 64 if index == 1 else 256, 3, 3, seed=index) for index in (1, 2, 3)}
    layers = "a = Conv<pads=[1,1,1,1]>(x, w1) b = Conv<pads=[1,1,1,1]>(a, w2) y = Conv<pads=[1,1,1,1]>(b, w3)"
    graph = builders.proto(f"g (float[1,64,28,28] x) => (float[1,256,28,28] y) {{ {layers} }}", **weights)

    def written(pipeline: str, **options: str) -> bytes:
        return compress(graph, pipeline, **options).proto.SerializeToString(deterministic=True)

    asked = written("basis:latency=0.7", power_mode="10W")
    assert asked == written("basis:latency=0.7:power=10W") != written("basis:latency=0.7")
    assert asked == written("basis:latency=0.7:power=10W", power_mode="30W"), "what a pass is given wins"


WRONG: list[Any] = [5, 2.5, b"abc", [1], (None,), {"a": 1}, object(), np.ones(3)]


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in ("data", "labels", "memory")])
def test_a_value_of_another_type_is_refused_by_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    whole = str(FIELDS[name].type).startswith("int")
    for value in WRONG[whole:]:
        with pytest.raises(UsageError, match=f"^{name}: is of type|: expected an integer from"):
            compress(builders.proto(MODEL, w=builders.normal(7, 3, 3, 3), v=builders.normal(7, 7)), [], **{name: value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["plugins", "plugin_operators", "shapes", "overrides", "overwrite", "legalize"])
def test_text_is_no_list_and_no_switch(name: str):
    with pytest.raises(UsageError, match=f"{name}: is of type str"):
        RunOptions.of({name: "False"})


@pytest.mark.parametrize("given", [{"model": 5}, {"pipeline": 5}, {"pipeline": ["basis"]}, {"progress": 5}])
def test_what_no_run_can_begin_with_is_refused(given: dict[str, Any]):
    whole = {"model": builders.proto(MODEL, w=builders.normal(7, 3, 3, 3), v=builders.normal(7, 7)), "pipeline": []}
    with pytest.raises(UsageError, match=r"is of type (int|str)"):
        compress(**{**whole, **given})


@pytest.mark.parametrize("given", [{"budget": 5}, {"points": "3"}, {"low": [0.5]}, {"high": None}])
def test_a_frontier_is_asked_with_numbers(given: dict[str, Any]):
    with pytest.raises(UsageError, match=f"{next(iter(given))}: is of type"):
        frontier("m.onnx", **given)


def test_samples_that_are_no_array_are_refused():
    with pytest.raises(CompressError, match="'x' is of type NoneType"):
        compress(builders.proto(MODEL, w=builders.normal(7, 3, 3, 3), v=builders.normal(7, 7)), [], data={"x": None})
