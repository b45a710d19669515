"""Q/DQ pairs in a graph: where they go, how they are written, which layers take them."""
