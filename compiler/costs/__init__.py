"""What Convs and networks cost: multiply-accumulates, parameters, bytes, estimated time."""
