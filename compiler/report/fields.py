"""What a report holds, as typed dictionaries; `schema` writes the JSON schema from them.

`SCHEMA` grows by one whenever a key changes its meaning, goes away or becomes required; `loading` reads earlier
ones too. Sizes are bytes, times seconds unless a name says ms, shares lie in [0, 1]; MACs and parameters are those of
the Conv layers, for one sample. A figure that is not finite is null.

7    adds times, and the batch of a latency
4    macs may be null
3    adds options; what `legalize` does to a node is "legalized"
2    adds created, command, environment, layers, and traces of each pass
1    the first
"""

from __future__ import annotations

from typing import Any, TypedDict

SCHEMA = 7


class LatencyReport(TypedDict):
    """Estimated for the target's device, not measured, of a `batch`; `error` is the model's relative error on other
    networks."""

    ms: float
    batch: int
    error: float
    mode: str
    kernels: int


class SizeReport(TypedDict):
    """`macs` and `latency` are null where a shape is not known; `latency` also where the target has no model of it."""

    macs: int | None
    params: int
    bytes: int
    latency: LatencyReport | None


class TimeReport(TypedDict):
    """A step on the way from `before` to `after`: `ms` is what the network is estimated to take, `step` since when."""

    step: str
    ms: float


class DataReport(TypedDict):
    source: str
    samples: int
    sha256: str
    preprocess: str | None


class QualityReport(TypedDict):
    """How good the network is beside the original.

    metric, value, deviation: what was measured, its value and its standard error (null where it is not known);
    original: the value of the original, null where the metric is a comparison with it; samples: that it was judged on,
    null where the user's metric has its own; held_out: no fit has seen them; fitted: the value with the loss on half
    as many that fits have seen, null where none are held out; agreement: the value where that is the metric;
    output_error: the distance of all outputs, relative to their size, null without data; the accuracies are null
    without labels; outputs: of several the loss of each, by name.
    """

    metric: str
    value: float
    deviation: float | None
    original: float | None
    samples: int | None
    held_out: bool
    fitted: float | None
    agreement: float | None
    output_error: float | None
    top1_before: float | None
    top1_after: float | None
    outputs: dict[str, float]


class DecisionReport(TypedDict):
    """`origin` is the node of the input model that `node` stands for."""

    node: str
    origin: str
    action: str
    reason: str
    figures: dict[str, Any]


class CurveReport(TypedDict):
    """What `origin` would lose at several sizes; see `compiler.pipeline.traces.ErrorCurve`."""

    origin: str
    form: str
    sizes: list[int]
    macs: list[int]
    errors: list[float | None]
    dense: int


class TrialCost(TypedDict, total=False):
    """Absent in older reports."""

    share: float


class TrialReport(TrialCost):
    macs: float
    value: float
    bound: float
    passed: bool


class SearchCost(TypedDict, total=False):
    """Absent in older reports."""

    cost: str


class SearchReport(SearchCost):
    """See `compiler.pipeline.traces.Trials`."""

    rule: str
    allowed: float
    tried: list[TrialReport]


class SpreadReport(TypedDict):
    """Values |x| of a tensor and the range chosen for it; see `compiler.pipeline.traces.Spread`."""

    tensor: str
    kind: str
    counts: list[int]
    top: float
    low: float
    high: float


class TracesReport(TypedDict):
    curves: list[CurveReport]
    searches: list[SearchReport]
    spreads: list[SpreadReport]


class PassReport(TypedDict):
    """`figures` are measured by the verifier and other instruments, `metrics` by the pass itself."""

    position: int
    name: str
    spec: str
    changed: bool
    seconds: float
    figures: dict[str, Any]
    metrics: dict[str, Any]
    notes: list[str]
    decisions: list[DecisionReport]
    traces: TracesReport


class CostReport(TypedDict):
    """`ms` is estimated, with the nodes that the engine fuses into the Conv; null where nothing tells it. So is `macs`
    where a shape is not known."""

    macs: int | None
    params: int
    ms: float | None


class LayerReport(TypedDict):
    """A Conv of the model that entered the passes, and all that stands for it in the compressed one.

    `weight` is its shape (filters, channels per group, kernel), null where it is not a constant.
    """

    name: str
    weight: list[int] | None
    before: CostReport
    after: CostReport


class EnvironmentReport(TypedDict):
    """`packages`: name -> version of those that decide the result."""

    python: str
    packages: dict[str, str]
    system: str
    processor: str
    cores: int


class ToolReport(TypedDict):
    name: str
    version: str


class TargetReport(TypedDict):
    name: str
    description: str
    command: str


class MeasuredReport(TypedDict):
    """An engine on the device, by `build --profile --report`; the last run of each network in each power mode.

    network: "before", of the model that came in, or "after"; mode: of power, null where the device has none;
    precision: the lowest that the builder might choose; ms: the median latency; watts: mean power of the module while
    the engine runs; mj, mj_above_idle: energy of an inference, see `runtime.tensorrt.power`; rails: name -> watts.
    What was not measured is null.
    """

    network: str
    mode: str | None
    precision: str
    tensorrt: str
    ms: float | None
    watts: float | None
    idle_watts: float | None
    mj: float | None
    mj_above_idle: float | None
    rails: dict[str, float]


class Measured(TypedDict, total=False):
    """What a report gets later; absent until an engine has been measured."""

    measured: list[MeasuredReport]


class Report(Measured):
    """`created` is UTC, ISO 8601. `command` repeats the run: of a shell, or a call in Python. `options`: what the run
    was asked for (`RunOptions`). `times`: first as it came in, then as the pipeline ends, then after each pass that
    makes a difference; empty where nothing tells them. `origins`: node of the compressed model -> the node of the input
    model that it stands for, where they differ."""

    schema: int
    tool: ToolReport
    created: str | None
    command: str | None
    environment: EnvironmentReport | None
    model: str | None
    output: str | None
    target: TargetReport
    pipeline: str
    seed: int
    options: dict[str, Any]
    data: DataReport | None
    before: SizeReport
    after: SizeReport
    times: list[TimeReport]
    quality: QualityReport | None
    layers: list[LayerReport]
    passes: list[PassReport]
    origins: dict[str, str]
    warnings: list[str]
    notes: list[str]
