"""A stand-in for MINERvA: generated interactions on plastic through a parametrised reconstruction."""
