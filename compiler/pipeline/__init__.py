"""The pass contract and what runs passes: options, grammar, registry, manager, instruments."""
