"""What every pass that replaces a Conv by a chain of smaller ones shares.

forms        what a Conv can be written as: the contract of a form, and the chain of Convs it becomes
costs        what a Conv, a rewrite of it and the network cost, in every unit that a budget may have
survey       each Conv is a candidate with costs and an error per form and size, or is left alone with a reason
sensitivity  what each candidate's error counts: the same, or what it was measured to do to the outputs
budget       the sizes with the smallest sum of errors within one or several budgets
refit        in graph order, each Conv projected at its size, in the metric of the inputs it then sees;
             Convs left dense and fully connected layers are re-fitted to what reaches them
search       the smallest share of MACs that keeps the agreement with the original, or its accuracy
base         the pass that joins them; a decomposition brings its check and its forms
"""
