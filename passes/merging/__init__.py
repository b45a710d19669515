"""What `horizontal-fusion` needs: `windows` puts kernels into a larger one, `steps` makes one Conv of several, `links`
knows the activation behind, `chains` finds them, `choice` prices them, `writing` writes them; `sums`: Convs that are
added."""
