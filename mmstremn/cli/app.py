"""``mmstremn app``."""

import click

from mmstremn.cli._parts import part


@click.command()
@click.option('--host', default='127.0.0.1', show_default=True, help='Address to listen on.')
@click.option('--port', type=int, default=7860, show_default=True)
@click.option('--model', help='Name of a model that comes with weights: see `mmstremn weights`.')
@click.option('--device', help='Such as cpu or cuda:0 (default: the GPU if there is one).')
def command(**options) -> None:
    """Segment videos in the browser."""
    part('app', 'launch')(**{name: value for name, value in options.items() if value is not None})
