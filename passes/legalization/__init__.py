"""The patterns of `legalize`, a file per subject. A pattern edits a graph and yields (node, what was done) per edit."""
