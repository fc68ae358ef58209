"""Simulated events: neutrino interaction, passage of its particles through the detector, readout."""
