"""What a default session of onnxruntime makes of the finished model: the engine of one target, and where users try the
files of the others.

The verifier runs models as they are written; a default session fuses Q/DQ pairs into INT8 kernels, which round and add
in their own way. Here one runs on the samples of the verifier:

    engine_error = ||w - e|| / ||w||        w: outputs as written, e: those of a default session; the largest of all

The order of additions alone makes a few values in a million take the next code, and layer by layer that grows, so that
e may be about as far from w as w is from the float network. An output that is more than `APART`, and more than `TIMES`
that distance, away is a fault: an overflow, or a saturation. Where onnxruntime is the target the model is refused. For
TensorRT a note says that not the file is wrong but the session, as on x86-64 without VNNI (`runtime.session`).

For an output that cannot be compared (what a NonMaxSuppression selects) stands what it is made of, as everywhere
(`compiler.graph.comparable`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..compiler.errors import CompressError, Unavailable
from ..compiler.graph.comparable import comparable_tensors
from ..compiler.graph.io import Model
from ..compiler.pipeline.base import PassRecord
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.instruments import Instrument
from .session import Session, comparable_session, model_session
from .verify import Outputs, Verify, named_like, outputs, relative_error

APART, TIMES = 0.1, 2.0
FOUND = (
    "a default session of onnxruntime is {error:.2g} away from the model as it is written, which is {own:.2g} away "
    "from the original"
)
FIX = "set session.disable_quant_qdq=1 in the session's options, or leave its layers in float (--exclude)"
NOTE = "onnxruntime does not show what TensorRT will compute here, unless session.disable_quant_qdq=1 is set: {found}"


class EngineCheck(Instrument):
    """After the pass number `last`: a default session gives what the model says; see the module docstring.

    Raises:
        CompressError: it does not, and is what the target runs.
    """

    def __init__(self, last: int, verify: Verify):
        self._last = last
        self._verify = verify

    def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
        is_target = ctx.target.tensorrt is None
        if record.position != self._last or ctx.data is None or not (is_target or _has_pairs(model)):
            return
        try:
            written = self._verify.written(model, ctx)
        except CompressError:  # the verifier has noted what onnxruntime cannot run
            return
        try:
            default = self._outputs(model_session(model, comparable_tensors(model.graph), fused=True), model, ctx)
            errors = _apart(written, default)
            if is_target:
                record.figures["engine_error"] = max(errors.values(), default=0.0)
            self._refuse_faults(errors, written, model, ctx)
        except CompressError as error:
            if is_target:
                raise
            record.result.notes.append(NOTE.format(found=error.what))

    def _refuse_faults(self, errors: Mapping[str, float], written: Outputs, model: Model, ctx: Context) -> None:
        suspects = {name: error for name, error in errors.items() if not error <= APART}
        if not suspects or ctx.original is None:
            return
        own = _apart(written, self._outputs(comparable_session(ctx.original), model, ctx))
        for name, error in suspects.items():
            if not error <= TIMES * own[name]:
                raise Unavailable(FOUND.format(error=error, own=own[name]), f"output '{name}'", FIX)

    def _outputs(self, session: Session, model: Model, ctx: Context) -> Outputs:
        return outputs(session, self._verify.feeds(model.graph, ctx))


def _has_pairs(model: Model) -> bool:
    return any(node.op == "DequantizeLinear" for node in model.graph.nodes)


def _apart(written: Outputs, other: Outputs) -> dict[str, float]:
    """How far each of the other outputs is from that as written; 0 where they are not of one shape."""
    found = named_like(written, other)
    return {name: _distance(value, found.get(name, value)) for name, value in written.items()}


def _distance(wanted: np.ndarray, found: np.ndarray) -> float:
    return relative_error(wanted, found) if wanted.shape == found.shape else 0.0
