"""`onnx-compress train-env create | show | remove`: the environment that onnxruntime-training runs in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .help import Command
from .options import Quiet

Folder = Annotated[Path | None, typer.Option(help="Folder; default: $ONNX_COMPRESS_TRAIN_ENV, or in the cache folder.")]

train_env = typer.Typer(rich_markup_mode=None, help="Set up training without PyTorch: onnxruntime-training.")


@train_env.command("create", cls=Command)
def create(
    python: Annotated[Path | None, typer.Option(help="Interpreter to make it with: Python 3.8 to 3.12.")] = None,
    folder: Folder = None,
    quiet: Quiet = False,
) -> None:
    """Make it, unless it is there: downloads about 70 MB."""
    from ..runtime.training.ort import environment
    from .console import progress_bars

    with progress_bars(quiet) as progress:
        made = environment.create(python, folder, progress)
    if not quiet:
        typer.echo(f"ready: {made}")


@train_env.command("show", cls=Command)
def show(folder: Folder = None) -> None:
    """Print its interpreter."""
    from ..runtime.training.ort.environment import find_interpreter

    typer.echo(find_interpreter(folder))


@train_env.command("remove", cls=Command)
def remove(folder: Folder = None) -> None:
    """Delete it."""
    from ..runtime.training.ort import environment

    place = folder or environment.default_folder()
    typer.echo(f"{'removed' if environment.remove(folder) else 'not there'}: {place}")
