"""How a tool ends: what is wrong with its input is one line, a mistake of the program a traceback."""

import sys
import traceback
from collections.abc import Callable

from mmstremn.utils.refusals import is_raised


def run_main(main: Callable[[], object], name: str) -> int:
    """Run the ``main`` of a tool, and print one line on the standard error where it refuses its input.

    Args:
        main: Reads the arguments of the process. An int that it returns is the exit code.
        name: Of the tool, for the line.

    Returns:
        The exit code; 2 where the input was refused.
    """
    try:
        result = main()
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, ImportError) as error:
        if not is_refusal(error):
            raise
        print(f'{name}: {error.args[0] if isinstance(error, KeyError) else error}', file=sys.stderr)
        return 2
    return result if isinstance(result, int) else 0


def is_refusal(error: Exception) -> bool:
    """Whether an error is of files (``OSError``), or a ``raise`` of this library or of a tool made it, with a
    message for the reader; so is mmengine's call of a class with arguments that it does not take."""
    if isinstance(error, OSError):
        return True
    frame, _ = [*traceback.walk_tb(error.__traceback__)][-1]
    module = frame.f_globals['__name__']
    is_ours = module == '__main__' or module.partition('.')[0] == 'mmstremn'
    return is_raised(error) and (is_ours or frame.f_code.co_name == 'build_from_cfg')
