"""What `horizontal-fusion` needs: `windows` puts kernels into a larger one, `steps` makes one Conv of several, `chains`
finds them and what is behind them, `writing` puts them into the graph."""
