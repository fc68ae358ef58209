"""Why a model answers as it does: evidence in the pixels, and tests of whether that evidence matters."""
