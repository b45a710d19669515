"""What each layer's error counts when a budget is divided: the same, or what it does to the network's outputs.

measure   the divergence of the outputs under other weights of a layer, and the gains that follow from it
table     the gains by layer, on disk: a file of the user's, or the cache
"""
