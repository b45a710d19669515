"""The engine: pass contract, pipeline grammar, manager, graph surgery, costs and allocation. It knows no pass."""
