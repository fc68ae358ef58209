"""Models; named variants are the YAML files in ``presets``, trained ones the folders in ``pretrained``."""

import logging

# On import it warns of a kernel that only a download would bring.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
