"""Removing whole blocks: which, how many, and what makes up for them.

front      the layer in front of a gap, and what it is wanted to give
gaps       a network with some of its blocks gone
dense      the best weight of a layer, seen through the activation behind it
repair     the layers around gaps fitted to the network before
strength   how far they go from what they were
losses     what the outputs lose with a block gone, the layer in front of it fitted
order      the blocks in the order in which they go, measured as far as it is asked for
problem    the blocks of a network, its costs, and how many go within a budget
trials     as many as held-out samples allow
"""
