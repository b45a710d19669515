"""How the help of a command is laid out: its options under headings, examples at the end; and what the first word is:
a command, one that was mistyped, or a model."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

from ..compiler.errors import UsageError

EXAMPLES: Mapping[str, Sequence[tuple[str, str]]] = {
    "compress": (
        ("the default, basis,quantize: as small as 97 % agreement allows, in INT8", "model.onnx --data photos/"),
        (
            "half the multiply-accumulates, INT8, and a page that shows where they went",
            "model.onnx --data photos/ --preprocess imagenet -p basis:macs=0.5,quantize --report run.html",
        ),
        (
            "fewer filters, then train without labels what is left",
            "model.onnx --data train.npz#images -p prune:macs=0.6,finetune:minutes=30,quantize",
        ),
        ("the last stage at full rank", "model.onnx --data d.npz -p basis:macs=0.5 --set 'layer4.*:basis.skip=true'"),
        ("from the weights alone", "model.onnx -p basis:energy=0.99 --target ort"),
    ),
    "list": (("the passes and the recipes", "list"),),
    "explain": (
        ("formulas, options and defaults of a pass", "explain basis"),
        ("what a recipe stands for", "explain small"),
    ),
    "eval": (
        ("top-1 and top-5", "eval model.onnx --data test.npz --preprocess cifar10"),
        ("how far two models agree", "eval small.onnx --against model.onnx --data photos/ --preprocess imagenet"),
    ),
    "frontier": (
        ("accuracy at eight sizes", "frontier model.onnx --data d.npz --preprocess cifar10 --points 8 -o sizes.json"),
    ),
    "report": (("the page of a run", "report run.json -o run.html"),),
    "bench": (("both, on two threads", "bench model.onnx model.compressed.onnx --threads 2"),),
    "compare": (
        (
            "the five worst layers",
            "compare model.onnx model.compressed.onnx --data photos/ --preprocess imagenet --top 5",
        ),
    ),
    "bisect": (
        (
            "which rewrite costs the agreement",
            "bisect model.onnx -p basis,quantize --data d.npz --check 'agreement>=0.95'",
        ),
        ("by a check of your own", "bisect model.onnx -p small --data d.npz --check './robot-test.sh {}'"),
    ),
    "check": (
        ("what the Xavier's TensorRT would refuse or misread", "check model.onnx"),
        ("built for real, without a GPU", "check model.onnx --target trt10 --engine rtx"),
    ),
    "build": (("on the device", "build model.compressed.onnx --int8 --fp16"),),
    "create": (("with an interpreter that fits", "train-env create --python python3.11"),),
    "show": (("its interpreter", "train-env show"),),
    "remove": (("free 300 MB", "train-env remove"),),
}
"""By command: what it is for, and what to type after the program's name."""

VARIABLES: Mapping[str, str] = {
    "NO_COLOR": "Set: no colours.",
    "XDG_CACHE_HOME": "Where figures that can be measured again are kept; default: ~/.cache.",
    "ONNX_COMPRESS_TRAIN_ENV": "Folder of the environment that train-env makes.",
    "ORT_DISABLE_TELEMETRY": "Of onnxruntime: 1 here, unless set; it then reports nothing to its maker.",
    "OMP_NUM_THREADS": "Threads of the linear algebra; the bytes of a result repeat for the same number.",
}
EXIT_CODES: Mapping[str, str] = {
    "0": "Done.",
    "1": "Could not be done, or a check did not pass: one line on stderr says why, and nothing is written.",
    "2": "Wrong usage, likewise.",
    "130": "Interrupted by Ctrl-C; 128 + n by signal n.",
}
ALIKE = 0.7
"""Of a word and the command that it may be meant for: `difflib`'s ratio."""


class Command(TyperCommand):
    """A command whose help has headings and examples, and that takes no flag with a value twice."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = [entry for entry in self.make_parser(ctx).parse_args(args=list(args))[2] if _takes_one(entry)]
        for entry in given:
            if given.count(entry) > 1:
                raise UsageError("is given twice", entry.opts[0], "give it once")
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
                heading = getattr(parameter, "rich_help_panel", None) or kind
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        program = ctx.find_root().info_name
        with formatter.section("Examples"):
            for purpose, arguments in EXAMPLES.get(self.name or "", ()):
                formatter.write(f"  # {purpose}\n  {program} {arguments}\n")


def _takes_one(parameter: Any) -> bool:
    return parameter.param_type_name == "option" and not parameter.multiple and not parameter.is_flag


class DefaultGroup(TyperGroup):
    """Commands, of which the first need not be named."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        meant = difflib.get_close_matches(args[0], self.commands, n=1, cutoff=ALIKE)
        if meant and not args[0].startswith("-") and not os.path.exists(args[0]):
            raise UsageError(f"neither a command nor a file: did you mean '{meant[0]}'?", args[0], "see --help")
        return super().resolve_command(ctx, [next(iter(self.commands)), *args])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        for heading, entries in (("Exit codes", EXIT_CODES), ("Environment variables", VARIABLES)):
            with formatter.section(heading):
                formatter.write_dl(list(entries.items()))
