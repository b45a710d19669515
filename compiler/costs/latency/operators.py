"""Which ONNX operators the builder treats alike."""

from __future__ import annotations

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
FUSED_ACTIVATIONS = frozenset({"Relu", "Clip", "LeakyRelu"})
SCALES = frozenset({"Add", "Sub", "Mul", "Div", "BatchNormalization"})
UNARY = frozenset(
    {
        *("Sigmoid", "Tanh", "Elu", "Selu", "Softplus", "Softsign", "HardSigmoid", "HardSwish", "Mish", "Gelu"),
        *("ThresholdedRelu", "PRelu", "Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "Log", "Neg", "Not"),
        *("Reciprocal", "Round", "Sign", "Sin", "Sqrt"),
    }
)
COMPARISONS = frozenset({"Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"})
BINARY = COMPARISONS | {"Max", "Min", "Pow", "Sum", "And", "Or", "Xor", "Where", "Mod"}
POINTWISE = SCALES | FUSED_ACTIVATIONS | UNARY | BINARY
POOLS = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean"})
RENAMES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Cast", "DequantizeLinear"})
SELECTS = frozenset({"Slice", "Split", "Gather", "GatherND", "GatherElements", "Pad"})
