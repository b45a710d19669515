"""A run that can go on after a kill: one archive, replaced as a whole.

Everything the rest of the run depends on is in it. Batches, shifts and flips are drawn from (seed, epoch, step), so
that a resumed run takes the steps that an uninterrupted one would have taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ...compiler.files import staged, writing

Arrays = Mapping[str, np.ndarray]


@dataclass
class Round:
    """What came of one round: mean loss, score on held-out data (`loop.Judge`), seconds since the run began."""

    number: int
    loss: float
    score: tuple[float, ...]
    seconds: float


@dataclass
class TrainingState:
    """Where a run stands.

    Attributes:
        step: how many were taken, over all epochs.
        parameters, slots: of the network and of the optimiser.
        best: the parameters with the best score so far, and that score.
        history: the rounds behind.
        losses: of the steps of the round that is under way.
        seconds: of training, over all parts of an interrupted run.
        planned: steps that the run is to take.
    """

    parameters: Arrays
    best: Arrays
    score: tuple[float, ...]
    slots: Arrays = field(default_factory=dict[str, np.ndarray])
    step: int = 0
    history: list[Round] = field(default_factory=list[Round])
    losses: list[float] = field(default_factory=list[float])
    seconds: float = 0.0
    planned: int = 0


def store(path: Path, state: TrainingState) -> None:
    """`CompressError` where the file cannot be written."""
    words = {
        "score": state.score,
        "step": state.step,
        "history": [astuple(each) for each in state.history],
        "losses": state.losses,
        "seconds": state.seconds,
        "planned": state.planned,
    }
    groups = {"parameters": state.parameters, "best": state.best, "slots": state.slots}
    arrays: dict[str, Any] = {
        f"{group}:{name}": array for group, values in groups.items() for name, array in values.items()
    }
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged(path) as part, part.open("wb") as file:
            np.savez(file, words=np.array(json.dumps(words)), **arrays)


def stored(path: Path) -> TrainingState | None:
    """What was stored; None where there is nothing, or nothing that can be read."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            words: dict[str, Any] = json.loads(str(archive["words"]))
            parameters, best, slots = (_group(archive, name) for name in ("parameters", "best", "slots"))
            score, *behind = (words[name] for name in ("score", "step", "losses", "seconds", "planned"))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, RecursionError):
        return None
    step, losses, seconds, planned = behind
    history = [Round(number, loss, tuple(found), since) for number, loss, found, since in words["history"]]
    return TrainingState(parameters, best, tuple(score), slots, step, history, losses, seconds, planned)


def _group(archive: Mapping[str, np.ndarray], group: str) -> dict[str, np.ndarray]:
    return {name.partition(":")[2]: archive[name] for name in archive if name.startswith(f"{group}:")}
