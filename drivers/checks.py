"""Whether a model is still good enough: `metric>=0.9`, `agreement>=0.95`, `accuracy>=0.9`, `error<=0.1`, or a command.

metric      the figure that the run judges networks by (`--metric`); `metric<=` where it is an error
agreement   share of samples, or of their pixels, with the class that the original chooses
accuracy    share of samples with the right class; wants labels
error       error of the outputs, each channel relative to its variance (`runtime.quality.distances`)
a command   `{}` stands for the model's file; exit code 0 means that it is good, 1 to 125 that it is not, and 126 and
            above (not found, killed) stop the search
"""

from __future__ import annotations

import operator
import re
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..compiler.errors import CompressError, UsageError, check_type
from ..compiler.graph.io import Model, save
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.ranges import parse_range
from ..compiler.processes import run
from ..runtime.quality.judge import AUTO, Judge, SampleJudge, judge_of_run

Check = Callable[[Model], bool]
METRIC = "metric"
SIGNS: Mapping[str, Sequence[str]] = {
    METRIC: (">=", "<="),
    "agreement": (">=",),
    "accuracy": (">=",),
    "error": ("<=",),
}
RANGES = {METRIC: "(-inf, inf)", "agreement": "(0, 1]", "accuracy": "(0, 1]", "error": "[0, inf)"}
_BOUND = re.compile(r"\s*([a-z-]+)\s*(>=|<=|==|>|<|=)\s*(\S+)\s*")
EXAMPLES = "for example: agreement>=0.95, accuracy>=0.9, error<=0.1, metric>=0.5, or './good.sh {}'"
CANNOT_RUN = 126


def parse_check(text: str, original: Model, ctx: Context) -> Check:
    """The check that `text` describes; `original` is what figures refer to, `ctx` of the run.

    Raises:
        UsageError: it cannot be read, or wants data or labels that are not there.
    """
    check_type(text, str, "--check", EXAMPLES)
    bound = _BOUND.fullmatch(text)
    if bound is None:
        if "{}" not in text:
            raise UsageError(f"'{text}' is neither a bound nor a command with {{}}", "--check", EXAMPLES)
        return lambda model: _runs_well(text, model)
    name, sign, value = bound.groups()
    if sign not in SIGNS.get(name, ()):
        known = ", ".join(f"{figure}{way}" for figure, ways in SIGNS.items() for way in ways)
        raise UsageError(f"no check '{name}{sign}'; known: {known}", "--check", EXAMPLES)
    limit, allowed = _number(value), parse_range(RANGES[name])
    if limit not in allowed:
        raise UsageError(f"{name}{sign}{value}: expected {allowed}", "--check", EXAMPLES)
    judge = _judge(name, original, ctx)
    way = "<=" if judge.metric == "error" else ">="
    if sign != way:
        raise UsageError(f"{judge.metric} is good where {name}{way}", "--check", f"{name}{way}{value}")
    holds = operator.ge if sign == ">=" else operator.le
    return lambda model: holds(judge.judge(model.graph).value, limit)


def _judge(name: str, original: Model, ctx: Context) -> Judge:
    data = ctx.judging or ctx.data
    judge = judge_of_run(original.graph, ctx) if name == METRIC else None
    if judge is not None:
        return judge
    if data is None:
        raise UsageError(f"{name} needs samples", "--check", "give --data")
    if name == "accuracy" and data.labels is None:
        raise UsageError("accuracy needs labels", "--check", "--labels KEY, or agreement>=")
    judge = SampleJudge.of(original.graph, data, AUTO if name == "agreement" else name)
    if name == "agreement" and judge.metric == "error":
        raise UsageError("the outputs hold no classes", "--check", "error<=0.1")
    return judge


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"'{text}' is no number", "--check", EXAMPLES) from None


def _runs_well(command: str, model: Model) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        save(model, path)
        code = run(command.replace("{}", shlex.quote(str(path))), shell=True).returncode
    if code < 0 or code >= CANNOT_RUN:
        raise CompressError(f"the command cannot be run: exit code {code}", "--check", "0 means good, 1 to 125 not")
    return code == 0
