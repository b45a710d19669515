"""How small a network is to become, and what passes with budgets share.

budget         the budget options: limits by cost, or one rule
budgeted_pass  the passes with these options, their checks and defaults
costs          what a Conv, a chain in its place and the network cost, in every unit that a budget may have
ended_time     what a network takes once the passes behind have quantized it
search         the smallest share of MACs that keeps the agreement with the original, or its accuracy
allocate       the choices with the smallest sum of errors within one or several budgets
knapsack       the solver behind it
"""
