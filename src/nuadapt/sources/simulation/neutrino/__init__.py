"""The neutrino interaction: from a neutrino along +z to the particles that leave the nucleus."""
