"""Simulated events, in the order of the data: ``neutrino`` (interaction in a nucleus), ``passage`` (particles through
argon), then ``detector`` and ``readout`` (pixels), ``features`` (visible truth), ``lartpc`` (one detector with its
beam), ``run`` (many events into a store); ``validation`` compares all of it with published physics.
"""
