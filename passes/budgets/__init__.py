"""Budgets that passes share: limits and rules, what things cost, search, allocation."""
