"""Commands of parts that are installed with an extra."""

from importlib import import_module

import click

EXTRA = dict(app='app', export='export')


def part(name: str, function: str):
    """A function of ``mmstremn.<name>``.

    Raises:
        click.ClickException: It is missing, or a package that it needs is; the message says what to install.
    """
    try:
        return getattr(import_module(f'mmstremn.{name}'), function)
    except (ImportError, AttributeError) as error:
        raise click.ClickException(
            f"`mmstremn {name}` needs the extra '{EXTRA[name]}': "
            f"pip install 'mmstremn[{EXTRA[name]}]' ({error})"
        ) from error
