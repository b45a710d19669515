"""What the sparse-lowrank pass writes a Conv as.

fitting         support by ADMM or by error curve, and the refit through the activation
channel_groups  S on input channels, L on the others
row_groups      S on output rows, L on the others
"""
