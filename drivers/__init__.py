"""Whole runs: who loads models and data and calls the pass manager."""
