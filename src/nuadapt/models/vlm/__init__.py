"""Vision-language models: backbones as presets, adapters on top of them, quantised weights."""

import logging

# On import it warns of a kernel that only a download would bring.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
