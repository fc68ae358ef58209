"""Whole studies: YAML files with everything that is run, and the short runner that runs them."""
