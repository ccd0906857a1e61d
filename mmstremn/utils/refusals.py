"""Which errors are meant for the reader of a message, and which are mistakes of the program."""

import traceback


def is_raised(error: BaseException) -> bool:
    """Whether a ``raise`` made the error, with a message for the reader, or mmengine's call of a class with
    arguments of a config that it does not take."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return (last.line or '').startswith('raise ') or last.name == 'build_from_cfg'
