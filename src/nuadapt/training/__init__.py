"""One training engine for every model."""
