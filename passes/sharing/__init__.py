"""What the passes that store weights in a shared form have in common.

fitting   the best dense fit of every layer, in step with the original network
base      the pass that projects each layer, writes it, and rebuilds its weight in the graph where the engine allows
"""
