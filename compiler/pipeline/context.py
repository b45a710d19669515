"""What a pass may ask for beside the graph: target, calibration data, scope, cached analyses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import onnx_graphsurgeon as gs

from ..jobs import Jobs
from ..targets import TARGETS, Target
from .overrides import SKIP, Override

Feeds = Mapping[str, np.ndarray]
T = TypeVar("T")
HELD = "held as it is"
ACTIVATIONS = 2**32


class Data(Protocol):
    """Calibration samples. Iterating again yields the same batches in the same order."""

    @property
    def samples(self) -> int:
        """How many samples all batches hold together."""
        ...

    def batches(self, size: int) -> Iterator[Feeds]:
        """The samples as model inputs by name, `size` (or fewer, in the last batch) along axis 0."""
        ...


class TrainingData(Data, Protocol):
    """Samples that can be had in any order, and their labels where there are some."""

    @property
    def labels(self) -> np.ndarray | None:
        """Class by sample, int64."""
        ...

    def take(self, rows: np.ndarray) -> Feeds:
        """The samples of these numbers, in this order, as one batch."""
        ...


class Advance(Protocol):
    """One step further; `note` is shown beside the bar (a loss, say)."""

    def __call__(self, note: str = "") -> None: ...


class Progress(Protocol):
    """Told by long stages how far they are: `with progress("lockstep", 55) as advance: ... advance()`."""

    def __call__(self, stage: str, total: int) -> AbstractContextManager[Advance]: ...


def silent(stage: str, total: int) -> AbstractContextManager[Advance]:
    """The progress that shows nothing."""
    return nullcontext(_ignore)


def _ignore(note: str = "") -> None:
    pass


@dataclass
class Context:
    """One compression run.

    Attributes:
        target: the engine to compile for.
        data: unlabelled calibration samples, or None for a data-free run.
        include, exclude: node names to consider (regular expressions, searched anywhere in the name); exclude wins.
        seed: the only source of randomness (`rng()`).
        original: the graph that entered the pipeline; budgets refer to it. Set by the manager, never edited.
        before: the graph as it was before the pass that runs, likewise.
        sensitivity_file: table of what each Conv's error costs (`passes.sensitivity.table`), for passes given none.
        plugin_operators: operators that the user's engine has plug-ins for.
        training: all samples, for passes that train (`Pass.trains_on`); None where no pass does.
        jobs: where work that can be split runs.
        sidecars: files that belong beside the model, suffix -> text: `.calib`, say.
        origins: new node name -> name of the node of the original model that it stands for.
        overrides: options that differ from node to node.
        running: name of the pass that runs; set by the manager.
        fault: what is wrong with the model as it came in, where something is.
        activations: bytes of the activations of calibration samples that are held in RAM at once, by network.
        held: nodes that stay as they are whatever a pass has chosen for them: a bisection holds all but the first few.
    """

    target: Target = field(default_factory=lambda: TARGETS["xavier"])
    data: Data | None = None
    include: str | None = None
    exclude: str | None = None
    seed: int = 0
    progress: Progress = silent
    original: gs.Graph | None = None
    before: gs.Graph | None = None
    sensitivity_file: str | None = None
    plugin_operators: frozenset[str] = frozenset()
    training: TrainingData | None = None
    jobs: Jobs = field(default_factory=Jobs)
    sidecars: dict[str, str] = field(default_factory=dict[str, str])
    origins: dict[str, str] = field(default_factory=dict[str, str])
    overrides: tuple[Override, ...] = ()
    running: str = ""
    fault: str = ""
    activations: int = ACTIVATIONS
    held: frozenset[str] = frozenset()
    _analyses: dict[str, Any] = field(default_factory=dict[str, Any])

    def rng(self) -> np.random.Generator:
        """A fresh generator: the same seed gives the same numbers to every pass."""
        return np.random.default_rng(self.seed)

    def out_of_scope(self, name: str) -> str | None:
        """Why the node called `name` is left alone by request, or None."""
        return HELD if name in self.held else self.unselected(name)

    def unselected(self, name: str) -> str | None:
        """`out_of_scope` but for `held`: for passes that divide a budget, which holding nodes shall not change. They
        ask for `held` when they write."""
        origin = self.origins.get(name, name)
        if self.exclude and re.search(self.exclude, origin):
            return f"excluded by --exclude {self.exclude}"
        if self.include and not re.search(self.include, origin):
            return f"not matched by --include {self.include}"
        return f"left alone by --set for {self.running}" if self._set(name).get(SKIP) else None

    def settings(self, name: str) -> dict[str, Any]:
        """The options of the running pass that are set for the node called `name`; skipping is `out_of_scope`'s."""
        return {option: value for option, value in self._set(name).items() if option != SKIP}

    def _set(self, name: str) -> dict[str, Any]:
        if not self.overrides:
            return {}
        origin = self.origins.get(name, name)
        mine = [entry for entry in self.overrides if entry.name == self.running and re.search(entry.pattern, origin)]
        return {entry.option: entry.value for entry in mine}

    def sample_shapes(self) -> dict[str, tuple[int, ...]] | None:
        """The shape of each input in the first calibration sample, None without data."""
        if self.data is None:
            return None
        first = next(iter(self.data.batches(1)))
        return {name: array.shape for name, array in first.items()}

    def analysis(self, key: str, compute: Callable[[], T]) -> T:
        """The cached result of `compute`; computed anew after a pass has changed the graph and does not preserve it."""
        if key not in self._analyses:
            self._analyses[key] = compute()
        return self._analyses[key]

    def invalidate(self, preserves: frozenset[str] = frozenset()) -> None:
        """Drop every cached analysis that is not named."""
        self._analyses = {key: value for key, value in self._analyses.items() if key in preserves}
