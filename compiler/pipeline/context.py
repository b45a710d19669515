"""What a pass may ask for beside the graph: options of the run, samples, and what earlier passes found out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_graphsurgeon as gs

from ..graph.copies import copy_graph
from ..jobs import Jobs
from ..targets import Target, find_target
from ..targets.profiles import parse_ranges
from .data import ACTIVATIONS, Data, Metric
from .measurements import Measurements
from .options import RunOptions
from .progress import Progress, silent

HELD = "held as it is"
SKIP = "skip"
MOVED = {**dict.fromkeys(("include", "exclude", "seed", "sensitivity_file"), "options"), "sidecars": "state"}
"""Where attributes are now that a context had in version 0.1."""


@dataclass(frozen=True)
class Override:
    """An option of single nodes, read: the option by its Python name, the value by its type; see `overrides`."""

    text: str
    pattern: str
    name: str
    option: str
    value: Any


@dataclass
class RunState:
    """What passes leave to later ones beside the graph; checkpoints hold exactly this.

    Attributes:
        origins: new node name -> name of the node of the original model that it stands for.
        sidecars: files that belong beside the model, suffix -> text: `.calib`, say.
        declared_operators: operators of the project's own that the model now has, for which there are plug-ins.
    """

    origins: dict[str, str] = field(default_factory=dict[str, str])
    sidecars: dict[str, str] = field(default_factory=dict[str, str])
    declared_operators: list[str] = field(default_factory=list[str])

    def copy(self) -> RunState:
        return RunState(dict(self.origins), dict(self.sidecars), list(self.declared_operators))


@dataclass
class Context:
    """One compression run.

    Attributes:
        options: what was asked for.
        data: calibration samples, or None for a data-free run.
        judging: samples that no fit sees; None where there are too few.
        training: all samples, for passes that train (`Pass.trains_on`); None where no pass does.
        metric: the user's own, where the run is judged by one.
        overrides: options that differ from node to node.
        jobs: where work that can be split runs.
        progress: what long stages report to.
        activation_bytes: of calibration samples, held in RAM at once by network.
        state: what passes leave to later ones.
        original: the graph that entered the pipeline; budgets refer to it. Set by the manager, never edited.
        original_bytes: of the file that it came in, external data included; 0 where there was none.
        envelope_bytes: what a file holds beside its graph: metadata, doc strings.
        before: the graph as it was before the pass that runs, likewise.
        running: name of the pass that runs, and
        following: the passes behind it; set by the manager.
        fault: what is wrong with the model as it came in, where something is.
        measurements: what runs over the same network share; None where a run is alone.
        held: nodes that stay as they are whatever a pass has chosen for them: a bisection holds all but the first few.
    """

    options: RunOptions = field(default_factory=RunOptions)
    data: Data | None = None
    judging: Data | None = None
    training: Data | None = None
    metric: Metric | None = None
    overrides: tuple[Override, ...] = ()
    jobs: Jobs = field(default_factory=Jobs)
    progress: Progress = silent
    activation_bytes: int = ACTIVATIONS
    state: RunState = field(default_factory=RunState)
    original: gs.Graph | None = None
    original_bytes: int = 0
    envelope_bytes: int = 0
    before: gs.Graph | None = None
    running: str = ""
    following: Sequence[Any] = ()
    fault: str = ""
    held: frozenset[str] = frozenset()
    measurements: Measurements | None = None

    @property
    def target(self) -> Target:
        """The engine to compile for."""
        return find_target(self.options.target)

    @property
    def origins(self) -> dict[str, str]:
        """See `RunState`; passes hand it to their `Rewriter`."""
        return self.state.origins

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name not in MOVED:
                raise AttributeError(f"a Context has no '{name}'")
            place = MOVED[name]
            warnings.warn(f"ctx.{name} is now ctx.{place}.{name}", DeprecationWarning, stacklevel=2)
            return getattr(getattr(self, place), name)

    def rng(self) -> np.random.Generator:
        """A fresh generator: the same seed gives the same numbers to every pass."""
        return np.random.default_rng(self.options.seed)

    def scope(self) -> list[Any]:
        """Which nodes are considered, and the seed: what is measured holds for these alone."""
        return [self.options.include, self.options.exclude, self.options.seed]

    def holding(self, most: int) -> Context:
        """The same run, with no more than so many bytes of activations in RAM by network."""
        return replace(self, activation_bytes=min(most, self.activation_bytes))

    def out_of_scope(self, name: str) -> str | None:
        """Why the node called `name` is left alone by request, or None."""
        return HELD if name in self.held else self.unselected(name)

    def unselected(self, name: str) -> str | None:
        """`out_of_scope` but for `held`: for passes that divide a budget, which holding nodes shall not change. They
        ask for `held` when they write."""
        origin, include, exclude = self.origins.get(name, name), self.options.include, self.options.exclude
        if exclude and re.search(exclude, origin):
            return f"excluded by --exclude {exclude}"
        if include and not re.search(include, origin):
            return f"not matched by --include {include}"
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

    def input_sizes(self) -> dict[str, tuple[int, ...]] | None:
        """The shape of each input that costs are counted at: as asked for, else of the first calibration sample."""
        asked = {name: sizes.opt for name, sizes in parse_ranges(self.options.shapes).items()}
        return {**(self.sample_shapes() or {}), **asked} or None


@dataclass(frozen=True)
class Snapshot:
    """A graph, which is never edited, with the state that belongs to it."""

    graph: gs.Graph
    state: RunState

    @classmethod
    def of(cls, graph: gs.Graph, ctx: Context) -> Snapshot:
        """A copy of what is there now; values of constants are shared, since passes replace and never change them."""
        return cls(copy_graph(graph), ctx.state.copy())

    def put_back(self, graph: gs.Graph, ctx: Context) -> None:
        """Make `graph` and `ctx.state` what they were."""
        vars(graph).update(vars(copy_graph(self.graph)))
        vars(ctx.state).update(vars(self.state.copy()))
