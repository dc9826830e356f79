"""``python -m galzoo``."""

from galzoo.cli import main

main()
