"""Support and refit of a sparse plus low-rank weight, for either kind of groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..projection.activation_aware import (
    ActivationAwareFit,
    ActivationAwareResult,
    projected,
    refit_activation_aware,
)
from ..projection.admm import AdmmProblem, Solution, solve_fit
from ..projection.fit import Array, Fit
from ..projection.lowrank import lowrank

FIRST_RANK = 4  # the groups of an error curve are ranked beside a low-rank weight of this part of the full rank
Figures = dict[str, "float | int | str"]


@dataclass(frozen=True)
class SparsityOptions:
    """Of the fits: iterations of the ADMM and its penalty t, alternations through the activation."""

    iterations: int = 100
    penalty: float = 1.0
    refits: int = 10


DEFAULT = SparsityOptions()


@dataclass(frozen=True, eq=False)
class Support:
    """Groups (sorted), and where they come from."""

    groups: np.ndarray
    figures: Figures


def first_error(fit: Fit) -> Array:
    """The error (n, d) of a low-rank weight, which says where an error curve needs S most."""
    basis, mixture = lowrank(fit, max(1, len(fit.weight) // FIRST_RANK))
    return fit.weight - mixture @ basis


def largest(scores: np.ndarray, count: int) -> np.ndarray:
    """The indices of the `count` largest scores, sorted."""
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def support(fit: Fit, problem: AdmmProblem, scores: np.ndarray, dense: Callable[[np.ndarray], Array]) -> Support:
    """The groups that the ADMM leaves, or those of the largest `scores`, whichever lose less once refitted.

    Args:
        dense: the weight (n, d) nearest to the fit with S on given groups.
    """
    solution = solve_fit(fit, fit.samples if isinstance(fit, ActivationAwareFit) else None, problem)
    tried = {"admm": largest(solution.norms, problem.groups), "energy": largest(scores, problem.groups)}
    lost = {name: fit.lost(dense(groups)) for name, groups in tried.items()}
    best = min(lost, key=lambda name: lost[name])
    return Support(tried[best], {"groups": problem.groups, "support": best, **_converged(solution)})


def refit_projection(fit: Fit, project: Callable[[Fit], Array], settings: SparsityOptions) -> ActivationAwareResult:
    """The fit through the activation where rows of it are there; otherwise the moments' fit."""
    if isinstance(fit, ActivationAwareFit):
        return refit_activation_aware(fit, project, settings.refits)
    return projected(fit, project)


def activation_figures(refitted: Sequence[ActivationAwareResult]) -> Figures:
    """Mean energy lost after the activation, before and after the refit through it."""
    errors = [each.errors for each in refitted if each.errors]
    if not errors:
        return {}
    first, last = sum(each[0] for each in errors), sum(min(each) for each in errors)
    figures: Figures = {"activated_before": first / len(errors), "activated": last / len(errors)}
    return {**figures, "alternations": max(len(each) - 1 for each in errors)}


def _converged(solution: Solution) -> Figures:
    return {"iterations": len(solution.primal), "primal": solution.primal[-1], "dual": solution.dual[-1]}
