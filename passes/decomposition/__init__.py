"""What every pass that replaces a Conv by a chain of smaller ones shares.

forms           what a Conv can be written as: the contract of a form, and the chain of Convs it becomes
branches        a sum of chains that read some of the channels each
template_forms  the forms of `sbf`
survey          each Conv is a candidate with costs and an error per form and size, or is left alone with a reason
candidates      a candidate, the projections that its sensitivity is measured with, and the choice of its size:
                the smallest sum of errors within one or several budgets
threshold       sizes by one threshold of a saliency for the whole network
rewrite         in graph order, each Conv projected at its size, in the metric of the inputs it then sees;
                Convs left dense and fully connected layers are re-fitted to what reaches them
base            the pass that joins them; a decomposition brings its check and its forms
"""
