"""What `legalize` mends, a file per subject. A mend edits a graph and yields (node, what was done) for each edit."""
