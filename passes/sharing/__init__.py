"""What passes that share weights have in common: `base` projects each layer, and rebuilds its weight in the graph."""
