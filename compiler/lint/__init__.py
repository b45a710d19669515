"""Does an engine take this model as it is on disk, and does it read it as ONNX defines it?

`lint` looks for what the parser or the builder of a target refuses, silently mis-reads, or makes slow. It works
on the raw ModelProto, subgraphs included, with or without the external data; only the numbers that a rule needs
(scales, zero points, axes) are read. Rules stand in files by subject, a function each:

    model               opset, IR version, producer, local functions
    interface           external data, network inputs
    naming              names of layers
    operators           which operators, types, number of outputs
    parameters          constants that are demanded, mis-read, or not read
    layers              Conv, ConvTranspose, Gemm
    pooling             MaxPool, AveragePool, LpPool
    normalizations      BatchNormalization, InstanceNormalization, Dropout
    resizing            Resize, Upsample
    geometry            ranks, static shapes, Einsum, If
    sequences           recurrent layers, loops, attention, random numbers
    quantization        QuantizeLinear, DequantizeLinear
    quantized_layers    what quantizers stand around
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import onnx

from ..targets import Target
from . import (
    geometry,
    interface,
    layers,
    model,
    naming,
    normalizations,
    operators,
    parameters,
    pooling,
    quantization,
    quantized_layers,
    resizing,
    sequences,
)
from .network import Network
from .rule import Finding, Rule

__all__ = ["RULES", "Finding", "Rule", "lint"]

RULES: tuple[Rule, ...] = (
    *model.RULES,
    *interface.RULES,
    *naming.RULES,
    *operators.RULES,
    *parameters.RULES,
    *layers.RULES,
    *pooling.RULES,
    *normalizations.RULES,
    *resizing.RULES,
    *geometry.RULES,
    *sequences.RULES,
    *quantization.RULES,
    *quantized_layers.RULES,
)


def lint(
    proto: onnx.ModelProto, target: Target, folder: Path | None = None, plugins: Collection[str] = ()
) -> list[Finding]:
    """What `target` refuses, mis-reads or runs slowly, errors first.

    Args:
        proto: the model; its external data need not be loaded.
        folder: where external data lie; without it, rules about stored numbers stay silent on them.
        plugins: names of TensorRT plugins that are registered beside those that ship with it.
    """
    network = Network(proto, target, folder, frozenset(plugins))
    found = [finding for rule in RULES if rule.targets(target) for finding in rule.findings(network)]
    return sorted(found, key=lambda finding: finding.severity)
