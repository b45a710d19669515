"""Making networks shorter: which blocks go, which become one, how many, and what makes up for it.

front        the layer in front of a gap, and what it is wanted to give
gaps         a network with some of its blocks gone, and some pairs of blocks merged
dense        the best weight of a layer, seen through the activation behind it
change_fits  the layers at a change fitted, for many changes at once
losses       what the outputs lose with one change more
order        the changes in the order in which they are made, measured as far as it is asked for
problem      the changes of a network, its costs, and how many are made within a budget
repair       the layers around all changes fitted to the network before
strength     how far they go from what they were
trials       as many changes as held-out samples allow
"""
