"""What the target's engine makes of the finished model, where that engine is onnxruntime.

The verifier runs models as they are written; a default session fuses Q/DQ pairs into INT8 kernels, which round and add
in their own way. Both run here on the first calibration samples:

    engine_error = ||w - e|| / ||w||        w: outputs as written, e: those of a default session; the largest of all

The kernels round once more what lies between pairs, so that e is about as far from w as w is from the float network. An
output that is more than `APART`, and more than `TIMES` that distance, away is a fault: an overflow, or a saturation.
For an output that cannot be compared (what a NonMaxSuppression selects) stands what it is made of, as everywhere
(`compiler.graph.comparable`).
"""

from __future__ import annotations

import numpy as np

from ..compiler.errors import CompressError, Unavailable
from ..compiler.graph.comparable import comparable_tensors
from ..compiler.graph.io import Model
from ..compiler.pipeline.base import PassRecord
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.instruments import Instrument
from .session import Session, comparable_session, model_session
from .verify import Outputs, first_feeds, named_like, outputs, relative_error

APART, TIMES, SAMPLES = 0.1, 2.0, 32
FIX = "set session.disable_quant_qdq=1 in the session's options, or leave its layers in float (--exclude)"


class EngineCheck(Instrument):
    """After the pass number `last`: a default session gives what the model says; see the module docstring.

    Raises:
        Unavailable: it does not.
    """

    def __init__(self, last: int):
        self._last = last

    def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
        data, original = ctx.data, ctx.original
        if record.position != self._last or ctx.target.tensorrt is not None or data is None or original is None:
            return

        def run(session: Session) -> Outputs:
            return outputs(session, first_feeds(data, SAMPLES))

        try:
            names = comparable_tensors(model.graph)
            written = run(model_session(model, names, optimized=False))
        except CompressError:  # the verifier has noted what onnxruntime cannot run
            return
        default = run(model_session(model, names, fused=True))
        before = named_like(written, run(comparable_session(original)))
        errors = {name: _apart(value, default[name]) for name, value in written.items()}
        record.figures["engine_error"] = max(errors.values(), default=0.0)
        for name, error in errors.items():
            own = _apart(before.get(name, written[name]), written[name])
            if not error <= max(APART, TIMES * own):
                raise Unavailable(
                    f"a default session of onnxruntime is {error:.2g} away from the model as it is written, which "
                    f"is {own:.2g} away from the original",
                    f"output '{name}'",
                    FIX,
                )


def _apart(wanted: np.ndarray, found: np.ndarray) -> float:
    return relative_error(wanted, found) if wanted.shape == found.shape else 0.0
