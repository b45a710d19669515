"""What passes share to fit layers: samples and fits, and the loop that walks the network with them.

samples   the samples that error curves are drawn from, and those that no curve has seen
fits      the best dense weight of a layer, by its moments or as stored; the biases that go with other weights
lockstep  every layer with its fits, in graph order, while the caller rewrites the network
"""
