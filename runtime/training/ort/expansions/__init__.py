"""Programs in operators that onnxruntime-training 1.19.2 has gradients of, on the CPU."""

from .prepare import RULES, Prepared, differentiable

__all__ = ["RULES", "Prepared", "differentiable"]
