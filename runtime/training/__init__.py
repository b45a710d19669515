"""Training of a graph's weights: engines that compute gradients, and the loop that uses them."""
