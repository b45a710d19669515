"""What the user of a network cares about, as a value: how good a network is beside the original.

outputs        what the outputs of a network are: class scores, class maps, or anything else
comparison     how often the outputs of another network choose what they choose
distances      how far they are from them
walk           both networks run over samples once, for several comparisons
own_metric     a function or a command of the user's
judge          the choice of a metric, and its value for a network beside the original
verdict        that value and what else the same outputs say, for reports
after_passes   that value after every pass of a run
"""
