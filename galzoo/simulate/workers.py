"""Simulations in several processes: every part is made by the simulator of one specification, in any order."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import signal
from concurrent.futures.process import BrokenProcessPool

from threadpoolctl import threadpool_limits

from galzoo.errors import InputError
from galzoo.resources import cores

_GUARD = 'put the code of the script under `if __name__ == "__main__":`, or use processes=1'


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

    Raises
    ------
    InputError
        If a worker process dies, or this one is itself a worker that is still importing the script that started it.
    """
    workers = min(processes or cores(), len(parts))
    if workers <= 1:
        work = make(*arguments)
        with threadpool_limits(limits=1):
            yield from map(work, parts)
        return
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise InputError(f"worker processes import the script that starts them, and would start it again: {_GUARD}")
    # Processes are spawned: forked ones inherit the threads and locks of TensorFlow where the caller has loaded it.
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(make, arguments)
    )
    try:
        yield from pool.map(_work, parts)
    except BrokenProcessPool:
        raise InputError(
            f"a worker process died: it ran out of memory (use fewer processes), or the script has no guard ({_GUARD})"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(make, arguments):
    global _function
    # The matrices of one stamp are small: threads inside a process only take the cores from its neighbours.
    threadpool_limits(limits=1)
    # Ctrl-C goes to the parent, which ends the workers; their own tracebacks would only hide its message.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _function = make(*arguments)


def _work(part):
    return _function(part)
