"""Predictions of a model on events, and every number derived from them."""
