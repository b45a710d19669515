"""What `quantize` is made of: cross-layer equalization, Q/DQ pairs, and the calibration cache."""
