"""Reading, viewing and editing ONNX graphs (onnx-graphsurgeon is the IR)."""
