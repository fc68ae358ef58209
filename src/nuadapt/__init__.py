"""nuadapt: adapt foundation models to neutrino interactions and check the answers.

Data flows through the folders in this order: ``events`` (what an event is), ``sources`` (how events come
in), ``models``, ``training``, ``evaluation``, ``report``; ``cli`` only parses and calls.
"""

from importlib.metadata import version

__version__ = version("nuadapt")
