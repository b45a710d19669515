"""Removing filters: which, how many in each group of channels, and what makes up for them.

candidates   each channel group is a candidate with an order of removal and a loss per unit removed, or is left alone
sensitivity  what the outputs that a layer loses count
cost_model   what the network costs as a function of how many units of each group are gone
problem      a graph with its candidates and costs
division     how many units of each group go, within one or several budgets
loop         the interval of each group widened on its own, as far as held-out samples allow
repair       removal; then, in graph order, each layer is fitted to what reaches it
batchnorm    statistics of the BatchNormalizations that were not folded
"""
