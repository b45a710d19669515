"""Several ways to save time beside each other: how far each goes, at one price of time.

paths     what each way saves and loses, further and further; how a saving is divided over them
filters   the path of pruning, where filters that go save time at all
plans     a network made by a plan: blocks first, then filters
contest   the plans for one time, built and judged beside each other
"""
