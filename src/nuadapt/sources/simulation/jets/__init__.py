"""Collider jets by class, from Pythia 6 and FastJet: events for pretraining without a download."""
