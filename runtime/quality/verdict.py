"""All that is said of a finished network, from one walk of it and the original over the samples."""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_graphsurgeon as gs

from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ..session import comparable_session
from ..subsets import evenly
from .comparison import Accuracy, Judged
from .distances import RelativeError
from .judge import SampleJudge, judge_of_run
from .one_sided import CommonestClass

BESIDE = 2


@dataclass(frozen=True)
class Verdict:
    """Beside the original.

    Attributes:
        judged: by the metric of the run.
        distance: ||a - b|| / ||a|| over all outputs, a of the original; None without samples.
        accuracy: where there are labels, and the first output is a row of class scores.
        commonest: the share of samples to which the original gives one class (`one_sided`); 0 where nothing is said.
        fitted: like `judged`, on samples that fits have seen; None where that was not asked for.
    """

    judged: Judged
    distance: float | None = None
    accuracy: Judged | None = None
    commonest: float = 0.0
    fitted: Judged | None = None


def verdict_of_run(original: gs.Graph, network: gs.Graph, ctx: Context, data: Data | None) -> Verdict | None:
    """`CompressError` as in `judge_of_run`; None where there is nothing to judge by."""
    judge = judge_of_run(original, ctx, data)
    if data is None or judge is None:
        return None if judge is None else Verdict(judge.judge(network))
    if isinstance(judge, SampleJudge):
        return verdict_by(judge, original, network)
    walked = verdict_by(SampleJudge.of(original, data), original, network)
    return replace(walked, judged=judge.judge(network))


def seen_samples(ctx: Context) -> Data | None:
    """Some that fits have seen, one for every `BESIDE` that networks are judged on; None where none are held out."""
    return None if ctx.judging is None or ctx.data is None else evenly(ctx.data, -(-ctx.judging.samples // BESIDE))


def verdict_by(judge: SampleJudge, original: gs.Graph, network: gs.Graph, seen: Data | None = None) -> Verdict:
    """From one walk over the samples of `judge`, and one over those that fits have seen."""
    distance, commonest = RelativeError(), CommonestClass()
    accuracy = [] if judge.labels is None else [Accuracy(judge.labels)]
    session = judge.original if network is original else comparable_session(network)
    judged = judge.judge(session, distance, commonest, *accuracy)
    right = accuracy[0].result() if accuracy else None
    fitted = None if seen is None else judge.on(seen).judge(session)
    return Verdict(judged, distance.result().value, right, commonest.result().value, fitted)
