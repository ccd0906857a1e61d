"""Several videos at a time on one model."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

T = TypeVar('T')


def side_by_side(runs: Iterable[Generator[T, None, None]], at_once: int) -> Iterator[T]:
    """What several generators give, ``at_once`` of them at a time, each in its own order.

    torch's threads are divided among them: a thread a video keeps two cores busier than two threads an
    operation, and torch leaves the interpreter to others while it computes. Of each generator one result
    waits at most. With one thread they run one after the other.

    Args:
        runs: Give no None.
        at_once: At least 1.
    """
    waiting, threads = deque(runs), torch.get_num_threads()
    workers = min(at_once, threads, len(waiting))
    if workers < 2:
        for run in waiting:
            yield from run
        return
    going: dict[Future, Generator[T, None, None]] = {}
    # torch keeps the number of threads by thread, and hands the last one set on to new threads.
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,))
    try:
        while waiting or going:
            while waiting and len(going) < at_once:
                run = waiting.popleft()
                going[pool.submit(next, run, None)] = run
            for future in wait(going, return_when=FIRST_COMPLETED).done:
                run = going.pop(future)
                result = future.result()
                if result is not None:
                    going[pool.submit(next, run, None)] = run
                    yield result
    finally:
        pool.shutdown(cancel_futures=True)
        for run in going.values():
            run.close()
        torch.set_num_threads(threads)
