"""Several ways to save time beside each other: how far each goes, at one price of time.

paths     what each way saves and loses, further and further; how a saving is divided over them
ways      what makes layers smaller
filters   fewer filters
factors   a basis in the place of a Conv
plans     a network made by a plan: blocks first, then smaller layers
contest   the plans for one time, built and judged beside each other
"""
