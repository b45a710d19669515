"""Whether a model is still good enough: `agreement>=0.95`, `accuracy>=0.9`, `error<=0.1`, or a shell command.

agreement   share of samples with the class that the original chooses
accuracy    share of samples with the right class; wants labels
error       ||a - b|| / ||a|| over all outputs, a of the original
a command   `{}` stands for the model's file; exit code 0 means that it is good, 1 to 125 that it is not, and 126 and
            above (not found, killed) stop the search
"""

from __future__ import annotations

import operator
import re
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..compiler.errors import CompressError, UsageError, check_type
from ..compiler.graph.io import Model, save
from ..compiler.pipeline.data import Data
from ..compiler.pipeline.ranges import parse_range
from ..compiler.processes import run
from ..runtime.evaluate import accuracy, agreement
from ..runtime.session import comparable_session, model_session

Check = Callable[[Model], bool]
FIGURES = {"agreement": ">=", "accuracy": ">=", "error": "<="}
RANGES = {"agreement": "(0, 1]", "accuracy": "(0, 1]", "error": "[0, inf)"}
_BOUND = re.compile(r"\s*([a-z-]+)\s*(>=|<=|==|>|<|=)\s*(\S+)\s*")
EXAMPLES = "for example: agreement>=0.95, accuracy>=0.9, error<=0.1, or './good.sh {}'"
CANNOT_RUN = 126


def parse_check(text: str, original: Model, data: Data | None) -> Check:
    """The check that `text` describes; `original` is what agreement and error refer to.

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
    if FIGURES.get(name) != sign:
        known = ", ".join(f"{figure}{way}" for figure, way in FIGURES.items())
        raise UsageError(f"no check '{name}{sign}'; known: {known}", "--check", EXAMPLES)
    limit, allowed = _number(value), parse_range(RANGES[name])
    if limit not in allowed:
        raise UsageError(f"{name}{sign}{value}: expected {allowed}", "--check", EXAMPLES)
    measure = _measure(name, original, data)
    holds = operator.ge if sign == ">=" else operator.le
    return lambda model: holds(measure(model), limit)


def _measure(name: str, original: Model, data: Data | None) -> Callable[[Model], float]:
    if data is None:
        raise UsageError(f"{name} needs samples", "--check", "give --data")
    if name == "accuracy":
        labels = data.labels
        if labels is None:
            raise UsageError("accuracy needs labels", "--check", "--labels KEY, or agreement>=")
        return lambda model: accuracy(model_session(model), data, labels).top1
    reference = comparable_session(original)

    def measured(model: Model) -> float:
        found = agreement(reference, comparable_session(model), data)
        if name == "error":
            return found.error
        if found.top1 is None:
            raise UsageError("the first output holds no classes", "--check", "error<=0.1")
        return found.top1

    return measured


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
