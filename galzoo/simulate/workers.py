"""Simulations in several processes: every part is made by the simulator of one specification, in any order."""

from __future__ import annotations

import multiprocessing
import signal

from threadpoolctl import threadpool_limits

from galzoo.resources import cores


def run_parts(make, arguments, parts, processes=None):
    """Yield ``make(*arguments)(part)`` of each part, in order.

    Parameters
    ----------
    make : callable
        Makes the function that works on a part, once a process; it and `arguments` can be pickled.
    arguments : tuple
    parts : list
    processes : int, optional
        Worker processes; one for each core by default. With one the work is done here.
    """
    workers = min(processes or cores(), len(parts))
    if workers <= 1:
        work = make(*arguments)
        with threadpool_limits(limits=1):
            yield from map(work, parts)
        return
    # Processes are spawned: forked ones inherit the threads and locks of TensorFlow where the caller has loaded it.
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, initializer=_start_worker, initargs=(make, arguments)) as pool:
        yield from pool.imap(_work, parts)


def _start_worker(make, arguments):
    global _function
    # The matrices of one stamp are small: threads inside a process only take the cores from its neighbours.
    threadpool_limits(limits=1)
    # Ctrl-C goes to the parent, which ends the workers; their own tracebacks would only hide its message.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _function = make(*arguments)


def _work(part):
    return _function(part)
