"""nuadapt: adapt foundation models to neutrino interactions and check the answers.

Data flows through the folders in this order: ``events`` (what an event is), ``sources`` (how events come
in), ``models``, ``training``, ``evaluation``, ``report``; ``cli`` only parses and calls.
"""

import logging
from importlib.metadata import version

# On import it warns of a kernel that only a download would bring.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

__version__ = version("nuadapt")
