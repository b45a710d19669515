"""What a pass is handed: scope, randomness, and the names of version 0.1 for one version more."""

from __future__ import annotations

import warnings

import pytest
from onnx_compress.compiler.pipeline.context import Context, RunState
from onnx_compress.compiler.pipeline.options import RunOptions


@pytest.mark.parametrize(
    ("name", "value"), [("seed", 7), ("include", "a"), ("exclude", "b"), ("sensitivity_file", "f")]
)
def test_options_have_their_old_names_for_one_version(name: str, value: object) -> None:
    ctx = Context(RunOptions.of({name: value}))
    with pytest.warns(DeprecationWarning, match=rf"ctx\.{name} is now ctx\.options\.{name}"):
        assert getattr(ctx, name) == value


def test_sidecars_are_those_of_the_state() -> None:
    ctx = Context(state=RunState(sidecars={".calib": "text"}))
    with pytest.warns(DeprecationWarning):
        assert ctx.sidecars is ctx.state.sidecars


def test_nothing_else_is_made_up() -> None:
    with warnings.catch_warnings(), pytest.raises(AttributeError, match="no 'plan'"):
        warnings.simplefilter("error")
        _ = Context().plan


def test_the_same_seed_gives_every_pass_the_same_numbers() -> None:
    ctx = Context(RunOptions(seed=3))
    assert ctx.rng().random() == ctx.rng().random() != Context().rng().random()


def test_exclude_wins_over_include_and_origins_count() -> None:
    ctx = Context(RunOptions(include="conv", exclude="conv2"), state=RunState(origins={"conv2.basis": "conv2"}))
    assert ctx.out_of_scope("conv1") is None
    assert ctx.out_of_scope("conv2.basis") == "excluded by --exclude conv2"
    assert ctx.out_of_scope("fc") == "not matched by --include conv"
