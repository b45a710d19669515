"""Rules about BatchNormalization, InstanceNormalization and Dropout: what training leaves behind.

Where no other source is given: onnx-tensorrt 8.5-GA builtin_op_importers.cpp.
"""

from __future__ import annotations

from ..graph.training_mode import EXPORT
from .node import Node
from .rule import TENSORRT, TENSORRT_8, Problem, Problems, every, node_rule


@node_rule("batchnorm-training", "BatchNormalization", targets=every, source="ONNX, BatchNormalization of each opset")
def batchnorm_training(node: Node) -> Problems:
    """Normalization by the batch's own statistics is for training."""
    if node.training_mode:
        yield Problem(f"it is in training mode: {node.training_mode}", EXPORT)


@node_rule("batchnorm-rank", "BatchNormalization", targets=TENSORRT, source="importer of BatchNormalization")
def batchnorm_rank(node: Node) -> Problems:
    """scale, B, mean and var have one dimension."""
    wrong = [node.proto.input[i] for i in range(1, 5) if node.rank(i) not in (None, 1)]
    if wrong:
        yield Problem(f"{', '.join(wrong)} should have one dimension", "reshape it")


@node_rule(
    "batchnorm-computed",
    "BatchNormalization",
    targets=TENSORRT_8,
    severity="warning",
    source="importer of BatchNormalization",
)
def batchnorm_computed(node: Node) -> Problems:
    """Four initializers make one Scale layer; otherwise it takes several elementwise ones."""
    computed = [node.proto.input[i] for i in range(1, 5) if node.computed(i)]
    if computed:
        yield Problem(f"{', '.join(computed)} is computed: several elementwise layers", "store it as an initializer")


@node_rule(
    "batchnorm-unfolded",
    "BatchNormalization",
    targets=TENSORRT_8,
    severity="warning",
    source="TensorRT developer guide, layer fusion and Q/DQ placement",
)
def batchnorm_unfolded(node: Node) -> Problems:
    """A BatchNormalization after a Conv belongs into its weights: quantizers are then set for what really runs."""
    before = node.producer(0)
    if node.training_mode:
        return
    if before is not None and before.op == "Conv" and not any(node.computed(i) for i in range(1, 5)):
        yield Problem("it is not folded into the Conv before it", "compress the model: fold-batchnorm does it")


@node_rule("instance-norm", "InstanceNormalization", targets=TENSORRT_8, source="onnx-tensorrt 8.5 docs/operators.md")
def instance_norm(node: Node) -> Problems:
    """Scale and bias are initializers."""
    if node.computed(1) or node.computed(2):
        yield Problem("scale or B is computed", "store both as initializers")


@node_rule("instance-norm-rank", "InstanceNormalization", targets=TENSORRT, source="8.5 docs/operators.md; RTX 1.7")
def instance_norm_rank(node: Node) -> Problems:
    """The data has at least 3 dimensions, in TensorRT 8 at most 5."""
    rank = node.rank(0)
    if rank is not None and (rank < 3 or (rank > 5 and TENSORRT_8(node.context.target))):
        yield Problem(f"the input has {rank} dimensions, TensorRT takes 3 to 5", "reshape it")


@node_rule("dropout-training", "Dropout", targets=every, source="ONNX, Dropout of each opset; onnx-tensorrt's importer")
def dropout_training(node: Node) -> Problems:
    """Dropout drops values in training only; for TensorRT its training_mode must be a constant."""
    if node.training_mode:
        yield Problem(f"it is in training mode: {node.training_mode}", EXPORT)
    elif node.computed(2) and TENSORRT(node.context.target):
        yield Problem("training_mode is not a constant false", EXPORT)


RULES = (
    batchnorm_training,
    batchnorm_rank,
    batchnorm_computed,
    batchnorm_unfolded,
    instance_norm,
    instance_norm_rank,
    dropout_training,
)
