"""The judge of a run: how good a network is beside the original.

    auto         by what the outputs are (`outputs`): agreement, pixels or error
    agreement    pixels    error        that one
    accuracy     against labels
    the user's own (`own_metric`)

Whoever judges networks in a run asks `judge_of_run`, which heeds what the user has chosen. Networks are judged at the
tensors where two of them can be compared (`graph.comparable`), paired by position.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Protocol

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.errors import CompressError
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data, Metric
from ...compiler.pipeline.progress import Progress, silent
from ..session import Session, comparable_session
from .comparison import Accuracy, Agreement, Comparison, Judged, PixelAgreement
from .distances import NormalisedError
from .outputs import Kind, is_row, kind_of
from .own_metric import own_metric
from .walk import compared, numbers

AUTO = "auto"
Unlabelled = type[Agreement] | type[PixelAgreement] | type[NormalisedError]
OF_KIND: Mapping[Kind, Unlabelled] = {"classes": Agreement, "maps": PixelAgreement, "values": NormalisedError}
BY_NAME: Mapping[str, Unlabelled] = {each.metric: each for each in OF_KIND.values()}
CHOICES = (AUTO, *BY_NAME, Accuracy.metric)


class Judge(Protocol):
    """Says how good a network is beside the original."""

    @property
    def metric(self) -> str:
        """What is measured."""
        ...

    @property
    def samples(self) -> int | None:
        """That networks are judged on; None where the metric has its own, which no data of the run change."""
        ...

    def judge(self, network: gs.Graph) -> Judged:
        """How good a network with the inputs and outputs of the original is."""
        ...


def judge_of_run(original: gs.Graph, ctx: Context, data: Data | None = None) -> Judge | None:
    """By the metric that the run asks for (`--metric`).

    Args:
        data: samples to judge on; by default those that no fit of the run sees, else all of it.

    Returns:
        None where the metric needs samples and there are none.

    Raises:
        CompressError: the outputs do not have what the metric is about, or there are no labels; the user's own fails.
    """
    own = ctx.metric or own_metric(ctx.options.metric, CHOICES)
    if own is not None:
        with ctx.progress(f"{own.label} of the original", 1) as advance:
            judge = OwnJudge(own, own.original(original), ctx.progress)
            advance(f"{judge.original:.4g}")
        return judge
    chosen = data or ctx.judging or ctx.data
    if chosen is None:
        return None
    return replace(SampleJudge.of(original, chosen, str(ctx.options.metric)), progress=ctx.progress)


@dataclass(frozen=True, eq=False)
class OwnJudge:
    """Judges by a metric of the user's, whose errors nobody knows.

    Attributes:
        original: the value of the original.
    """

    own: Metric
    original: float
    progress: Progress = silent
    samples: None = None

    @property
    def metric(self) -> str:
        return self.own.label

    def judge(self, network: gs.Graph) -> Judged:
        with self.progress(self.metric, 1) as advance:
            value = self.own.value(network)
            advance(f"{value:.4g} of {self.original:.4g}")
        return Judged(self.metric, value, self.original - value, original=self.original)


@dataclass(frozen=True, eq=False)
class SampleJudge:
    """Compares networks with the original on samples.

    Attributes:
        metric: what is measured.
        labels: (samples,), where there are some and the first output is a row of class scores.
    """

    original: Session
    data: Data
    metric: str
    labels: np.ndarray | None = None
    progress: Progress = silent

    @staticmethod
    def of(original: gs.Graph, data: Data, metric: str = AUTO) -> SampleJudge:
        """`CompressError` where the outputs do not have what the metric is about, or there are no labels."""
        session = comparable_session(original)
        feeds = next(iter(data.batches(data.fixed_batch or 1)))
        outputs = numbers(session.run(feeds))
        kind, first = kind_of(original, feeds, outputs), next(iter(outputs.values()), None)
        labels = data.labels if first is not None and is_row(first) and len(first) == _samples(feeds) else None
        if metric == Accuracy.metric:
            if labels is None:
                what = "there are no labels" if data.labels is None else "no row of class scores per sample"
                raise CompressError(f"accuracy cannot be measured: {what}", "metric", "give --labels, or use error")
            return SampleJudge(session, data, metric, labels)
        comparison = OF_KIND[kind] if metric == AUTO else BY_NAME[metric]
        if comparison not in (OF_KIND[kind], NormalisedError):
            what = f"{metric} cannot be measured: the outputs are no {'row' if metric == 'agreement' else 'map'}"
            raise CompressError(f"{what} of class scores", "metric", f"use {OF_KIND[kind].metric}, or macs=")
        return SampleJudge(session, data, comparison.metric, labels)

    @property
    def samples(self) -> int:
        return self.data.samples

    def on(self, data: Data) -> SampleJudge:
        """By the same metric on other samples of the data."""
        return replace(self, data=data, labels=None if self.labels is None else data.labels)

    def judge(self, network: gs.Graph | Session, *beside: Comparison) -> Judged:
        """How good a network with the same outputs is; the comparisons `beside` see the same outputs."""
        other = network if isinstance(network, Session) else comparable_session(network)
        found = compared(self.original, other, self.data, self._comparison(), *beside, progress=self.progress)[0]
        return _of_samples(found, self.data.samples)

    def _comparison(self) -> Comparison:
        if self.labels is not None and self.metric == Accuracy.metric:
            return Accuracy(self.labels)
        return BY_NAME[self.metric]()


def _of_samples(judged: Judged, samples: int) -> Judged:
    """Where outputs have several rows per sample, these say no more than one: they are alike. Fewer are of batches."""
    rows, deviation = judged.samples or samples, judged.deviation
    if deviation is not None and rows > samples:
        deviation *= sqrt(rows / samples)
    return replace(judged, samples=samples, deviation=deviation)


def _samples(feeds: Mapping[str, np.ndarray]) -> int:
    return len(next(iter(feeds.values())))
