"""What options of several commands mean."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
from mmengine.config import Config, DictAction

from mmstremn.apis.model_names import DEFAULT_MODEL, resolve_model, terms_of
from mmstremn.checkpoints.matching import has_own_weights
from mmstremn.datasets.io.frame_sources import PROTOCOLS
from mmstremn.utils.shipped_files import find_config, find_weights, read_config


class ConfigCommand(click.Command):
    """A command whose ``--cfg-options`` takes several values, as in all MM tools."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread, taking = [], False
        for arg in args:
            if arg == '--cfg-options':
                taking = True
                continue
            taking = taking and not arg.startswith('-')
            spread += ['--cfg-options', arg] if taking else [arg]
        return super().parse_args(ctx, spread)


class StoredVideo(click.ParamType):
    """A video file or a folder of pictures."""

    name = 'VIDEO'

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        is_camera = str(value).isdecimal() and not Path(value).exists()
        if is_camera or str(value).lower().startswith(PROTOCOLS):
            self.fail(
                f"'{value}': expected a video file or a folder of pictures; cameras and streams are read by "
                'VOSInferencer and PredictionInferencer in Python',
                param,
                ctx,
            )
        return Path(value)


def default_out(command: str, video: Path) -> Path:
    """The folder for the results of a video where none is given."""
    return Path('work_dirs', command, os.path.basename(os.path.abspath(video)))


class FrameAndFile(click.ParamType):
    """``FRAME:FILE``."""

    name = 'FRAME:FILE'

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, Path]:
        frame, colon, path = str(value).partition(':')
        if not (frame.isdecimal() and colon and path):
            self.fail(f"expected FRAME:FILE such as 33:second.png, got '{value}'", param, ctx)
        return int(frame), Path(path)


class FrameAndObject(click.ParamType):
    """``FRAME:ID``."""

    name = 'FRAME:ID'

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        frame, _, number = str(value).partition(':')
        if not (frame.isdecimal() and number.isdecimal()):
            self.fail(f"expected FRAME:ID such as 120:2, got '{value}'", param, ctx)
        return int(frame), int(number)


class PlaceInFrame(click.ParamType):
    """``[FRAME:]ID:X,Y...``: the frame (0 where it is left out), the object and the numbers.

    Args:
        form: Of the numbers, such as ``X,Y[,LABEL]``.
        example: For messages.
        lengths: How many numbers there may be.
    """

    def __init__(self, form: str, example: str, lengths: tuple[int, ...]):
        self.name, self.example, self.lengths = f'[FRAME:]ID:{form}', example, lengths

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, tuple[float, ...]]:
        *whole, last = str(value).split(':')
        try:
            frame, number = (int(part) for part in ['0', *whole][-2:])
            numbers = tuple(float(part) for part in last.split(','))
        except ValueError:
            numbers = ()
        if len(numbers) not in self.lengths or len(whole) > 2 or frame < 0:
            self.fail(f"expected {self.name} such as {self.example}, got '{value}'", param, ctx)
        return frame, number, numbers


class FrameRate(click.ParamType):
    """Frames a second: 25, .5, 30000/1001."""

    name = 'RATE'

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        try:
            rate = Fraction(value)
        except (ValueError, ZeroDivisionError):
            rate = Fraction(0)
        if not 0 < rate <= 1000:
            self.fail(f"expected frames a second above 0 and up to 1000, got '{value}'", param, ctx)
        return rate


class Label(click.ParamType):
    """``ID=NAME``."""

    name = 'ID=NAME'

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, str]:
        number, equals, name = str(value).partition('=')
        if not (number.isdecimal() and 0 < int(number) < 255 and equals and name):
            self.fail(f"expected ID=NAME such as 1=dog, with an id in 1..254, got '{value}'", param, ctx)
        return int(number), name


def choose_model(
    model: str | None, config: str | None, checkpoint: str | None, cfg_options: tuple[str, ...]
) -> tuple[Config, str | None]:
    """The config, with its options, and the weights that a command asks for (None where the config names its
    own); their terms are printed once.

    Raises:
        click.UsageError: The options do not belong together.
        FileNotFoundError: There is no such model, config or checkpoint.
    """
    own = config is not None and has_own_weights(read_config(config).model)
    if (config is None) != (checkpoint is None) and not own:
        raise click.UsageError('--config and --checkpoint belong together: expected both, or --model')
    if config is not None and model is not None:
        raise click.UsageError('--model and --config: expected one of the two')
    path: str | Config
    if config is None:
        path, weights = resolve_model(model or DEFAULT_MODEL)
    else:
        path, weights = find_config(config), checkpoint and find_weights(checkpoint)
    cfg = read_config(path, parse_cfg_options(cfg_options))
    if weights is not None and (terms := terms_of(weights)):
        click.echo(terms, err=True)
    return cfg, weights


def parse_cfg_options(options: tuple[str, ...]) -> dict:
    """``KEY=VALUE``s as mmengine's ``DictAction`` reads them.

    Raises:
        click.UsageError: One has no '='.
    """
    import argparse

    wrong = [option for option in options if '=' not in option]
    if wrong:
        raise click.UsageError(f'--cfg-options: expected KEY=VALUE, got {wrong[0]}')
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    return parser.parse_args(['--cfg-options', *options]).cfg_options if options else {}
