"""One fine-tuning: from a network and samples to trained weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.errors import Unavailable
from ...compiler.graph.io import load
from ...compiler.graph.rewriter import Rewriter
from ...compiler.pipeline.base import Decision, PassResult
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data, Feeds
from ...runtime.result_cache import cache_folder
from ...runtime.session import graph_session
from ...runtime.subsets import ChosenSamples
from ...runtime.training.batches import TeacherBatches, rows_by_shape, split_rows
from ...runtime.training.checkpoint import TrainingState, store, stored
from ...runtime.training.engine import Program, Trainer
from ...runtime.training.engines import find_engine
from ...runtime.training.loop import Loop
from ...runtime.training.optimizer import Optimizer
from ...runtime.training.parts import PartedTrainer
from ...runtime.training.shapes import open_programs
from .goals import Goals
from .judge import HeldOut
from .length import given_steps, timed_steps, training_settings
from .objective import ONE_HOT, Objective, finished
from .options import FinetuneOptions
from .parameters import TrainableParameter, find_parameters
from .program import build, trained_name

Arrays = Mapping[str, np.ndarray]
MOST_HELD = 1024
MOST_SHAPES = 16
NOTHING = "no weight can be trained"
HALF = "{count} weights are {kind}, and only those in float32 are trained: convert the network after fine-tuning"
SAME = "all outputs are the original's: there is nothing to learn"
REST = "{count} layers in front are the original's still: they rest, and their values are taken from it"
PLANNED = "{steps} steps of {seconds:.2g} s fit into {minutes:g} minutes: steps={steps} repeats the run"
NO_GAIN = "the network was never better on the held-out samples than what went in, which is kept"


def _untrained(graph: gs.Graph) -> list[str]:
    """A note on weights of Convs and Gemms in a narrower or wider type of float."""
    weights = (node.inputs[1] for node in graph.nodes if node.op in ("Conv", "Gemm") and len(node.inputs) > 1)
    kinds = [str(each.dtype) for each in weights if isinstance(each, gs.Constant)]
    return [HALF.format(count=kinds.count(kind), kind=kind) for kind in ("float16", "float64") if kind in kinds]


@dataclass
class FinetuningJob:
    """A checkpoint is known by the pass as it is spelled, network and samples."""

    graph: gs.Graph
    ctx: Context
    data: Data
    options: FinetuneOptions
    notes: list[str] = field(default_factory=list[str])

    def run(self) -> PassResult:
        if not self.parameters:
            return PassResult(notes=[NOTHING, *_untrained(self.graph)])
        found = [self.goals.objective(batch, self.parameters) for batch in self.examples]
        goals = [each for each in found if each is not None]
        if not goals:
            return PassResult(notes=[SAME])
        programs = [self._program(goal, batch) for goal, batch in zip(goals, self.examples, strict=True)]
        trained = [one for one in self.parameters if trained_name(one) in programs[0].parameters]
        judge = self._judge(trained, goals[0])
        resting = {one.layer for one in self.parameters} - {one.layer for one in trained}
        if self.goals.border and resting:
            self.notes.append(REST.format(count=len(resting)))
        checkpoint = cache_folder() / "finetune" / f"{self._digest(programs, judge.names)}.npz"
        state = self._train(programs, trained, goals[0], judge, checkpoint)
        checkpoint.unlink(missing_ok=True)
        return self._result(state, trained, judge)

    @cached_property
    def parameters(self) -> list[TrainableParameter]:
        return [one for one in find_parameters(self.graph) if self.ctx.out_of_scope(one.layer) is None]

    @cached_property
    def original(self) -> gs.Graph:
        if self.options.teacher is not None:
            return load(Path(self.options.teacher)).graph
        return self.ctx.original or self.graph

    @cached_property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Samples to train on, and to judge on."""
        whole = self.data.fixed_batch or 1
        held = min(round(self.options.held_out * self.data.samples), MOST_HELD)
        held = max(held - held % whole, whole)
        if self.data.samples - held < whole:
            what = f"{self.data.samples} samples are too few to train on and to judge on"
            raise Unavailable(what, "finetune", "give more samples")
        trained, judged = split_rows(self.data.samples, held)
        return trained, np.concatenate(rows_by_shape(self.data, judged))

    @cached_property
    def examples(self) -> list[Feeds]:
        """A batch of every shape."""
        groups = rows_by_shape(self.data, self.rows[0])
        if len(groups) > MOST_SHAPES:
            what = f"samples of {len(groups)} shapes: a program is compiled for each, at most {MOST_SHAPES}"
            raise Unavailable(what, "finetune", "pad to fewer sizes")
        return [self.data.take(group[: self.data.fixed_batch or self.size]) for group in groups]

    @cached_property
    def goals(self) -> Goals:
        few = {name: values[: self.data.fixed_batch or 2] for name, values in self.examples[0].items()}
        return Goals(self.graph, self.original, self.options, few, self.data.labels is not None)

    @property
    def size(self) -> int:
        """Samples in a step, of shapes that have so many."""
        whole, wanted = self.data.fixed_batch, self.options.batch or 1
        if whole is None:
            return min(wanted, len(self.rows[0]))
        most = min(wanted, *(len(group) for group in rows_by_shape(self.data, self.rows[0])))
        return max(most - most % whole, whole)

    @property
    def parts(self) -> int:
        """Of a step, each of as many samples as the network takes."""
        return self.size // self.data.fixed_batch if self.data.fixed_batch else 1

    def _program(self, goal: Objective, batch: Feeds) -> Program:
        shapes = {name: array.shape for name, array in batch.items()}
        return build(self.graph, self.parameters, finished(goal), shapes, goal.shapes, goal.taken)

    def _digest(self, programs: Sequence[Program], names: Sequence[str]) -> str:
        total = hashlib.sha256()
        for program in programs:
            total.update(program.model.SerializeToString(deterministic=True))
        total.update(gs.export_onnx(self.original, do_type_check=False).SerializeToString(deterministic=True))
        for name, values in programs[0].parameters.items():
            total.update(name.encode() + np.ascontiguousarray(values).tobytes())
        words = [str(self.options), self.ctx.options.seed, self.data.samples, self.data.digest, names]
        total.update(repr(words).encode())
        return total.hexdigest()[:32]

    def _judge(self, trained: Sequence[TrainableParameter], goal: Objective) -> HeldOut:
        held = ChosenSamples(self.data, self.rows[1])
        temperature = self.options.temperature if "distill" in self.options.losses else None
        return HeldOut(self.graph, trained, self.original, held, self.ctx, goal.labelled, temperature)

    def _train(
        self,
        programs: Sequence[Program],
        trained: Sequence[TrainableParameter],
        goal: Objective,
        judge: HeldOut,
        checkpoint: Path,
    ) -> TrainingState:
        options = self.options
        batches = self._batches(goal)
        optimizer = Optimizer(options.optimizer or "scaled", options.momentum, options.decay, options.clip)
        masks = {trained_name(one): mask for one in trained if (mask := one.mask()) is not None}
        state, start = stored(checkpoint), programs[0].parameters
        engine = find_engine(options.engine, options.threads)
        with open_programs(engine, programs) as opened:
            trainer = opened if self.parts == 1 else PartedTrainer(opened, self.parts)
            steps = state.planned if state else self._steps(trainer, batches, start, judge)
            with self.ctx.progress("finetune", steps) as advance:
                for _ in range(state.step if state else 0):
                    advance()
                loop = Loop(
                    trainer,
                    optimizer,
                    batches,
                    judge,
                    training_settings(options, steps, batches.steps),
                    masks,
                    on_step=lambda loss, rate: advance(f"loss {loss:.4f} rate {rate:.1e}"),
                    keep=lambda state: store(checkpoint, state),
                )
                return loop.run(start, state)

    def _steps(self, trainer: Trainer, batches: TeacherBatches, start: Arrays, judge: HeldOut) -> int:
        options = self.options
        given = given_steps(options, batches.steps)
        if given is not None:
            return given
        with self.ctx.progress("timing a step", 1) as advance:
            plan = timed_steps(options, trainer, batches, start, judge)
            advance(f"{plan.steps} steps fit into {options.minutes:g} minutes")
        self.notes.append(PLANNED.format(steps=plan.steps, seconds=plan.seconds, minutes=options.minutes))
        return plan.steps

    def _batches(self, goal: Objective) -> TeacherBatches:
        return TeacherBatches(
            self.data,
            self.rows[0],
            self.size,
            graph_session(self.original, list(goal.teacher)) if goal.teacher else None,
            goal.teacher,
            self.options.augmentation,
            self.ctx.options.seed,
            self.parts,
            self.data.labels if goal.labelled else None,
            ONE_HOT if goal.labelled else "",
            goal.shapes.get(ONE_HOT, (0, 0))[1],
        )

    def _result(self, state: TrainingState, trained: Sequence[TrainableParameter], judge: HeldOut) -> PassResult:
        result = PassResult()
        rewriter = Rewriter(self.graph, self.ctx.origins)
        for parameter in trained:
            name = trained_name(parameter)
            moved = float(np.linalg.norm(state.best[name] - parameter.values))
            figures = {"parameter": name, "moved": moved / max(float(np.linalg.norm(parameter.values)), 1e-30)}
            result.decisions.append(Decision(parameter.layer, "refitted" if moved else "kept", "", figures))
            parameter.write(rewriter, state.best[name])
        result.changed = any(decision.action == "refitted" for decision in result.decisions)
        result.metrics = {"steps": state.step, "rounds": len(state.history), **judge.figures(state.score)}
        result.metrics["seconds_per_step"] = state.seconds / max(state.step, 1)
        for each in state.history:
            result.metrics[f"loss_{each.number}"] = each.loss
            for name, value in judge.figures(each.score).items():
                result.metrics[f"{name}_{each.number}"] = value
        result.notes += self.notes if result.changed else [*self.notes, NO_GAIN]
        return result
