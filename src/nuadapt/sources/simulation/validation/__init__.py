"""Comparison of the simulation with published physics; run by ``nuadapt validate simulation``."""
