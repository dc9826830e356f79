"""The progress of long work: bars on a terminal, a line now and then elsewhere."""

import contextlib
import sys
import time

# Seconds between two lines where there is no terminal; shorter work says nothing.
_EVERY = 15.0


def track(steps, description, show=True):
    """Go through `steps` with a progress bar on a terminal and with lines elsewhere."""
    if not show:
        return steps
    if not sys.stdout.isatty():
        return _told(steps, description)
    from rich.progress import track as bar

    return bar(steps, description=description)


@contextlib.contextmanager
def counter(n, description, show=True):
    """Show a bar of `n` things that are done a few at a time, or lines; yield the function that counts them."""
    if show and not sys.stdout.isatty():
        yield Lines(n, description).count
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not show) as progress:
        task = progress.add_task(description, total=n)
        yield lambda count: progress.advance(task, count)


class Lines:
    """Write how far work is and the time that is left to standard error, every quarter of a minute.

    Parameters
    ----------
    n : int
        Things to do.
    description : str
    """

    def __init__(self, n, description):
        self.n, self.description, self.done = n, description, 0
        self.started = self.said = time.monotonic()

    def count(self, number=1):
        """Note that so many more are done."""
        self.done += number
        now = time.monotonic()
        if now - self.said < _EVERY or not self.done:
            return
        self.said = now
        left = (now - self.started) / self.done * (self.n - self.done)
        text = f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min"
        sys.stderr.write(f"{self.description}: {self.done}/{self.n}, {text} left\n")
        sys.stderr.flush()


def _told(steps, description):
    steps = steps if hasattr(steps, "__len__") else list(steps)
    lines = Lines(len(steps), description)
    for step in steps:
        yield step
        lines.count()
