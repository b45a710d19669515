"""Weights stored in another form than a dense array, and the nodes that rebuild them."""
