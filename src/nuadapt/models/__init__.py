"""Models; named variants are the YAML files in ``presets``."""
