"""The parts of a data set are read side by side, and everything that is wrong with them is said at once."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar('Item')
Part = TypeVar('Part')
WRONG = (OSError, ValueError)


def read_each(read: Callable[[Item], Part], items: Iterable[Item], workers: int = 8) -> list[Part]:
    """``read`` of every item, in their order.

    Raises:
        OSError, ValueError: Of the items that cannot be read, as :func:`raise_all` does.
    """

    def attempt(item: Item) -> tuple[list[Part], Exception | None]:
        try:
            return [read(item)], None
        except WRONG as error:
            return [], error

    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(attempt, items))
    raise_all([error for _, error in found if error is not None])
    return [part for parts, _ in found for part in parts]


def raise_all(errors: Sequence[Exception]) -> None:
    """Raise the only error; where there are more, one that lists all: a FileNotFoundError where all are, else
    a ValueError."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        missing = all(isinstance(error, FileNotFoundError) for error in errors)
        kind = FileNotFoundError if missing else ValueError
        raise kind('\n'.join([f'{len(errors)} errors:', *map(str, errors)]))
