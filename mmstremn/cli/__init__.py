"""The command ``mmstremn``: each of its commands is a module of its own, imported when it is used."""

import importlib
import sys
from difflib import get_close_matches

import click

COMMANDS = {
    'segment': 'Segment a video from masks of some of its frames.',
    'predict': 'Predict how a video goes on.',
    'score': 'Score predicted masks against true ones: J, F, J&F.',
    'app': 'Segment videos in the browser.',
    'export': 'Export a model for runtimes without torch.',
    'doctor': 'Print what is installed and what is missing; check data sets.',
    'weights': 'List the weights that are there, their hashes and terms.',
}


class LazyGroup(click.Group):
    """Commands whose modules are imported when they are used: ``--help`` needs no torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        try:
            return importlib.import_module(f'mmstremn.cli.{cmd_name}').command
        except ImportError as error:
            from mmstremn.versions import what_to_install

            raise click.ClickException(f'{error}. {what_to_install(error)}') from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith('-'):
            close = get_close_matches(name, COMMANDS, 1)
            ctx.fail(f"no command '{name}', expected {close[0] if close else ', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section('Commands'):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings=dict(help_option_names=['-h', '--help']))
@click.version_option(package_name='mmstremn')
def mmstremn() -> None:
    """Segment and predict video with models whose memory is bounded."""


def main(argv: list[str] | None = None, name: str = 'mmstremn') -> int:
    """Run the command; the exit code. What is wrong with the input is one line on the standard error; a
    ``TypeError`` or ``KeyError`` that nothing raised on purpose is a mistake of the program, and keeps its
    traceback.

    Args:
        argv: The arguments; None: those of the process.
        name: Of the program, for messages.

    Raises:
        SystemExit: The arguments are wrong, or help was asked for.
    """
    try:
        mmstremn.main(argv, prog_name=name, standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        print(f'{name}: {error.message}', file=sys.stderr)
        return 1
    except (click.Abort, KeyboardInterrupt):
        print(f'{name}: stopped', file=sys.stderr)
        return 130
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, ImportError) as error:
        if isinstance(error, (TypeError, KeyError)):
            from mmstremn.utils.refusals import is_raised

            if not is_raised(error):
                raise
        print(f'{name}: {error.args[0] if isinstance(error, KeyError) else error}', file=sys.stderr)
        return 1
    return 0
