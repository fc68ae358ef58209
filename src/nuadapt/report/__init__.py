"""Figures, tables and pages, made from result files only."""
