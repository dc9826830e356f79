"""The progress bar of long work."""

import sys


def track(steps, description, show=True):
    """Go through `steps` with a progress bar on a terminal; where there is none, or `show` is false, without."""
    if not show or not sys.stdout.isatty():
        return steps
    from rich.progress import track as bar

    return bar(steps, description=description)
