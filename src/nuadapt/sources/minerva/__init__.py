"""MINERvA's MasterAnaDev tuples: ROOT trees of reconstructed objects, with or without truth."""
