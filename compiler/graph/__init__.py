"""Reading, viewing and editing ONNX graphs (onnx-graphsurgeon is the IR)."""

from onnx_graphsurgeon.logger import G_LOGGER

G_LOGGER.severity = G_LOGGER.CRITICAL + 1  # it prints warnings to stdout, which belongs to the command line
