"""Removing whole blocks: which, how many, and what makes up for them.

front      the layer in front of a gap, and what it is wanted to give
gaps       a network with some of its blocks gone, and its re-fit
losses     what the outputs lose with a block gone, the layer in front of it fitted
order      the blocks in the order in which they go, measured as far as it is asked for
problem    the blocks of a network, its costs, and how many go within a budget
"""
