"""The engine: pass contract, pipeline grammar, manager, graph surgery, costs, targets. It knows no pass."""
