"""What the user of a network cares about, as a value: how good a network is beside the original.

outputs        what the outputs of a network are: class scores, class maps, or anything else
comparison     how far the outputs of another network are from them
own_metric     a function or a command of the user's
judge          the choice of a metric, and its value for a network beside the original
after_passes   that value after every pass of a run
"""
