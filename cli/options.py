"""Options that commands share: flags for the fields of `RunOptions`, and a few of the commands' own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import Field, fields
from typing import Annotated, Any, cast

import typer

from ..compiler.pipeline.options import DATA, DEFAULTS, UNUSED, WRITTEN, RunOptions, flag_of
from .completion import pipelines

FIELDS: Mapping[str, Field[Any]] = {entry.name: entry for entry in fields(RunOptions)}


def _targets() -> list[str]:
    from ..compiler.targets import TARGETS

    return list(TARGETS)


def _power_modes() -> list[str]:
    from ..compiler.costs.latency import DEVICES

    return list(dict.fromkeys(mode for device in DEVICES.values() for mode in device.modes))


def _presets() -> list[str]:
    from ..runtime.preprocess import PRESETS

    return list(PRESETS)


def _metrics() -> list[str]:
    from ..runtime.quality.judge import CHOICES

    return list(CHOICES)


COMPLETIONS: Mapping[str, Callable[..., list[str]]] = {
    "target": _targets,
    "preprocess": _presets,
    "metric": _metrics,
    "power_mode": _power_modes,
}

Data = Annotated[str, typer.Option(help=flag_of(FIELDS["data"]).help, rich_help_panel=DATA)]
MaybeData = Annotated[str | None, typer.Option(help=flag_of(FIELDS["data"]).help, rich_help_panel=DATA)]
Pipeline = Annotated[
    str,
    typer.Option(
        "--pipeline", "-p", help="Passes and options, or a recipe: basis:macs=0.5,quantize.", autocompletion=pipelines
    ),
]
Metric = Annotated[str, typer.Option(help=flag_of(FIELDS["metric"]).help, rich_help_panel=DATA)]
Preprocess = Annotated[
    str | None, typer.Option(help=flag_of(FIELDS["preprocess"]).help, autocompletion=_presets, rich_help_panel=DATA)
]
Plugins = Annotated[list[str] | None, typer.Option(help=flag_of(FIELDS["plugins"]).help)]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help=flag_of(FIELDS["overwrite"]).help, rich_help_panel=WRITTEN)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


def takes_options(driver: str, **defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for each field of `RunOptions` that `driver` heeds, for its parameter `options`.

    Args:
        defaults: of this command, by field, beside those of the driver; `...`: the flag must be given.
    """
    defaults = {**DEFAULTS.get(driver, {}), **defaults}
    taken = [entry for entry in FIELDS.values() if entry.name not in UNUSED.get(driver, ())]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters
        flags = {entry.name: _parameter(entry, defaults) for entry in taken if entry.name not in own}

        def run(**given: Any) -> None:
            asked = {name: _read(FIELDS[name], given.pop(name)) for name in flags}
            command(**given, options=RunOptions.of(asked))

        named = {name: each.replace(kind=each.KEYWORD_ONLY) for name, each in own.items() if name != "options"}
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        vars(run)["__signature__"] = inspect.Signature([*named.values(), *flags.values()])
        return run

    return decorate


def _parameter(entry: Field[Any], defaults: Mapping[str, Any]) -> inspect.Parameter:
    flag, default = flag_of(entry), defaults.get(entry.name, entry.default)
    kind: Any = flag.kind or (list[str] if isinstance(default, tuple) else str if default is None else type(default))
    if default is None or isinstance(default, tuple):
        kind, default = kind | None, None
    default = False if isinstance(default, bool) else inspect.Parameter.empty if default is ... else default
    option = typer.Option(
        *flag.names,
        help=flag.help,
        min=flag.least,
        max=flag.most,
        rich_help_panel=flag.heading,
        autocompletion=COMPLETIONS.get(entry.name),
    )
    annotation = Annotated[kind, option]  # pyright: ignore[reportInvalidTypeForm]
    return inspect.Parameter(entry.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _read(entry: Field[Any], value: Any) -> Any:
    """A value that was typed, as the field takes it."""
    if isinstance(entry.default, bool):
        return value != entry.default if flag_of(entry).names[0].startswith("--no-") else value
    return cast("Any", entry.default) if value is None else value
