"""The progress bars of long work."""

import contextlib
import sys


def track(steps, description, show=True):
    """Go through `steps` with a progress bar on a terminal; where there is none, or `show` is false, without."""
    if not show or not sys.stdout.isatty():
        return steps
    from rich.progress import track as bar

    return bar(steps, description=description)


@contextlib.contextmanager
def counter(n, description, show=True):
    """Show a bar of `n` things that are done a few at a time; yield the function that counts them."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not show) as progress:
        task = progress.add_task(description, total=n)
        yield lambda count: progress.advance(task, count)
