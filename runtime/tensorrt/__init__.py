"""TensorRT: checking a model with its parser on any machine, building an engine, and reading back what layers cost."""
