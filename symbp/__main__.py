"""``python -m symbp`` is the command ``symbp``."""

from symbp.cli import main

main()
