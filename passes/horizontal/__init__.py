"""What `horizontal-fusion` needs: `windows` puts kernels into a larger one, `steps` makes one Conv of several, `chains`
finds them and what is behind them, `choice` prices them, `writing` writes them; `sums` are Convs that are added."""
