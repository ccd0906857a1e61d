"""What to say to a name that was probably misspelt."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, names: Iterable[str], cutoff: float = 0.6, most: int = 1) -> str:
    """The hint to follow a sentence that refuses ``name``, with a space before it: ``' Did you mean X?'``.

    Args:
        name: What was given.
        names: What there is.
        cutoff: Likeness from which a name is named, in 0..1, as of ``difflib.get_close_matches``.
        most: Names that are named.

    Returns:
        The hint; empty where no name is similar.
    """
    close = difflib.get_close_matches(name, [*names], most, cutoff)
    return f' Did you mean {", ".join(close)}?' if close else ''
