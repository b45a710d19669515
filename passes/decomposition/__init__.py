"""What every pass that replaces a Conv by a chain of smaller ones shares.

survey    each Conv is a candidate with an error curve per form, or is left alone with a reason
budget    the sizes with the smallest sum of relative lost output energy within a budget
refit     in graph order, each Conv projected at its size, in the metric of the inputs it then sees;
          Convs left dense and fully connected layers are re-fitted to what reaches them
search    the smallest budget that keeps the agreement with the original
base      the pass that joins them; a decomposition brings its check and its forms (`forms`)
"""
