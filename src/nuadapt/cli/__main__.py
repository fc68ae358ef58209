"""``python -m nuadapt.cli``, for launchers that start modules."""

from nuadapt.cli import main

main()
