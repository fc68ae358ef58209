"""Passage through matter: from particles at a point to ionisation along their paths in liquid argon."""
