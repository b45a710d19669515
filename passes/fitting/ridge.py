"""How far a re-fit of a layer with few rows may go from the stored weight, decided by rows that it has not seen.

The samples are in two parts (`runtime.moments`). For every ridge in turn the weight is fitted on one part and judged on
the other, and the other way round: with W' = [W b], from the moments of the part that judges,

    E|y - W' x|^2 = P - 2 tr(W' YX^T) + tr(W' XX W'^T)

The ridge with the smallest sum decides the weight that is fitted to both; the metric that structured weights are
compared in stays that of the ridge that was asked for. Beside the ridges stands the stored weight with a fitted bias.

Moments come in parts where rows are few (`runtime.lockstep.FEW`). Elsewhere a stronger ridge lowers the error of the
layer on unseen rows by a little, and what the layer makes up for the errors before it by more. EfficientNet-Lite0 at 85
% of the MACs (`basis`), 512 images of which 64 are held out from all fits, agreement on 500 others:

    no choice 63.4       for the Gemm behind the pooling 66.0       for all layers 59.4 (the metric as well: 49.8)

`prune`, whose layers are refitted and not structured, is better with all of them judged: divergence of the outputs on
64 held-out samples at 85 % of the MACs, and where only layers with few rows are judged

    EfficientNet-Lite0 0.075 (0.098)       MobileNetV2 0.126 (0.146)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ...runtime.moments import Moments
from ..projection.fit import Array, Fit
from ..projection.stacked import best_fits

FACTORS = (1.0, 10.0, 100.0, 1000.0)
"""Of the ridge that is asked for; on the way to the best of them the loss falls, behind it it rises (all layers of
ResNet-56 and EfficientNet-Lite0)."""
LIKELY = 2


def judged_fits(moments: Moments, stored: np.ndarray, ridge: float) -> list[Fit]:
    """The fit of every group, by the ridge that fits best what it has not seen.

    Args:
        stored: (g, n, d).
    """
    if moments.parts is None:
        return _fits(moments, stored, ridge)
    best, loss = least([partial(_loss, moments.parts, stored, ridge * factor) for factor in FACTORS])
    if _loss(moments.parts, stored, None) <= loss:
        return _kept(moments, stored, ridge)
    asked, chosen = _fits(moments, stored, ridge), _fits(moments, stored, ridge * FACTORS[best])
    pairs = zip(asked, chosen, strict=True)
    return [replace(one, weight=other.weight, residual=other.residual, rhs=None) for one, other in pairs]


def least(losses: Sequence[Callable[[], float]]) -> tuple[int, float]:
    """The number of the least of losses that fall up to it and rise behind it, and that loss."""
    known = {LIKELY: losses[LIKELY]()}
    best = LIKELY
    for step in (1, -1):
        while 0 <= best + step < len(losses):
            known[best + step] = losses[best + step]()
            if known[best + step] >= known[best]:
                break
            best += step
        if best != LIKELY:
            break
    return best, known[best]


def _loss(parts: Sequence[Moments], stored: np.ndarray, ridge: float | None) -> float:
    """Of the wanted outputs, what fits on one part miss on the other."""
    pairs = ((parts[0], parts[1]), (parts[1], parts[0]))
    return sum(_missed(_weights(fitted, stored, ridge), judging) for fitted, judging in pairs)


def _weights(moments: Moments, stored: np.ndarray, ridge: float | None) -> Array:
    """[W b] of every group (g, n, d + 1), with that ridge; None: the stored weights."""
    weight = stored if ridge is None else np.stack([fit.weight for fit in _fits(moments, stored, ridge)])
    mean_x, mean_y = moments.xx[:, -1, :-1, None], moments.yx[:, :, -1:]
    return np.concatenate([weight, mean_y - weight @ mean_x], axis=2)


def _fits(moments: Moments, stored: np.ndarray, ridge: float) -> list[Fit]:
    return best_fits(moments.xx, moments.yx, moments.power, stored, ridge, moments.own)


def _kept(moments: Moments, stored: np.ndarray, ridge: float) -> list[Fit]:
    """The stored weights as the best ones, with the bias that gives the wanted means, in the metric of that ridge."""
    mean_x, mean_y = moments.xx[:, -1, :-1], moments.yx[:, :, -1]
    covariance = moments.xx[:, :-1, :-1] - mean_x[:, :, None] * mean_x[:, None]
    means = mean_y[:, :, None] * mean_x[:, None]
    given, own = stored @ covariance, moments.yx.copy()
    own[:, :, :-1] = given + means
    fits = best_fits(moments.xx, own, moments.power, stored, ridge, own=True)
    missed = ((given - 2 * (moments.yx[:, :, :-1] - means)) * stored).sum(axis=(1, 2))
    return [replace(fit, residual=max(0.0, fit.signal + float(more))) for fit, more in zip(fits, missed, strict=True)]


def _missed(weights: Array, moments: Moments) -> float:
    """Of the wanted outputs, what [W b] of every group miss."""
    explained = 2 * np.vdot(weights, moments.yx) - np.vdot(weights @ moments.xx, weights)
    return float(moments.power.sum() - explained)
