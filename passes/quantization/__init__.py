"""What `quantize` is made of: balancing, Q/DQ pairs, and the calibration cache."""
