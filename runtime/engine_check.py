"""What a default session of onnxruntime makes of the finished model: the engine of one target, and where users try the
files of the others.

The verifier runs models as they are written; a default session fuses Q/DQ pairs into INT8 kernels, which round and add
in their own way. Both run here on the first calibration samples:

    engine_error = ||w - e|| / ||w||        w: outputs as written, e: those of a default session; the largest of all

The order of additions alone makes a few values in a million take the next code, and layer by layer that grows, so that
e may be about as far from w as w is from the float network. An output that is more than `APART`, and more than `TIMES`
that distance, away is a fault: an overflow, or a saturation. Where onnxruntime is the target the model is refused. For
TensorRT a note says that not the file is wrong but the session, as on x86-64 without VNNI (`runtime.session`).

For an output that cannot be compared (what a NonMaxSuppression selects) stands what it is made of, as everywhere
(`compiler.graph.comparable`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..compiler.errors import CompressError, Unavailable
from ..compiler.graph.comparable import comparable_tensors
from ..compiler.graph.io import Model
from ..compiler.pipeline.base import PassRecord
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.data import Feeds
from ..compiler.pipeline.instruments import Instrument
from .session import comparable_session, model_session
from .verify import Outputs, first_feeds, named_like, outputs, relative_error

APART, TIMES = 0.1, 2.0
SAMPLES, FEW = 32, 2
"""How many are compared, where onnxruntime is the target and where a note is all that may come of it."""
FOUND = (
    "a default session of onnxruntime is {error:.2g} away from the model as it is written, which is {own:.2g} away "
    "from the original"
)
FIX = "set session.disable_quant_qdq=1 in the session's options, or leave its layers in float (--exclude)"
NOTE = "onnxruntime does not show what TensorRT will compute here, unless session.disable_quant_qdq=1 is set: {found}"


@dataclass(frozen=True)
class Output:
    """Of one output: how far the default session (`error`) and the original (`own`) are from the model as written."""

    name: str
    error: float
    own: float

    @property
    def is_fault(self) -> bool:
        return not self.error <= max(APART, TIMES * self.own)

    def __str__(self) -> str:
        return FOUND.format(error=self.error, own=self.own)


class EngineCheck(Instrument):
    """After the pass number `last`: a default session gives what the model says; see the module docstring.

    Raises:
        CompressError: it does not, and is what the target runs.
    """

    def __init__(self, last: int):
        self._last = last

    def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
        data, original, is_target = ctx.data, ctx.original, ctx.target.tensorrt is None
        if record.position != self._last or data is None or original is None or not (is_target or _has_pairs(model)):
            return
        feeds = list(first_feeds(data, SAMPLES if is_target else FEW))
        try:
            written = _outputs(model, feeds, fused=False)
        except CompressError:  # the verifier has noted what onnxruntime cannot run
            return
        try:
            before = named_like(written, outputs(comparable_session(original), feeds))
            found = _compared(written, _outputs(model, feeds, fused=True), before)
            if is_target:
                record.figures["engine_error"] = max((each.error for each in found), default=0.0)
            _refuse_faults(found)
        except CompressError as error:
            if is_target:
                raise
            record.result.notes.append(NOTE.format(found=error.what))


def _refuse_faults(found: Iterable[Output]) -> None:
    for each in found:
        if each.is_fault:
            raise Unavailable(str(each), f"output '{each.name}'", FIX)


def _has_pairs(model: Model) -> bool:
    return any(node.op == "DequantizeLinear" for node in model.graph.nodes)


def _outputs(model: Model, feeds: Sequence[Feeds], fused: bool) -> Outputs:
    session = model_session(model, comparable_tensors(model.graph), optimized=fused, fused=fused)
    return outputs(session, feeds)


def _compared(written: Outputs, default: Outputs, original: Outputs) -> list[Output]:
    return [
        Output(name, _apart(value, default[name]), _apart(original.get(name, value), value))
        for name, value in written.items()
    ]


def _apart(wanted: np.ndarray, found: np.ndarray) -> float:
    return relative_error(wanted, found) if wanted.shape == found.shape else 0.0
