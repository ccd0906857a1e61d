"""``mmstremn app``."""

import click

from mmstremn.cli._parts import part
from mmstremn.cli.options import ConfigCommand, choose_model


@click.command(cls=ConfigCommand)
@click.option('--host', default='127.0.0.1', show_default=True, help='Address to listen on.')
@click.option('--port', type=int, default=7860, show_default=True)
@click.option('--model', help='Name of a model that comes with weights: see `mmstremn weights`.')
@click.option('--config', help='Of another model, which is in the menu beside those.')
@click.option('--checkpoint', help="The other model's; of a SAM 2 family config also a folder.")
@click.option('--cfg-options', multiple=True, metavar='KEY=VALUE...', help='Changes of the config.')
@click.option('--device', help='Such as cpu or cuda:0 (default: the GPU if there is one).')
@click.option(
    '--upload-limit',
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    metavar='MB',
    help='Largest video file that is taken.',
)
def command(host, port, model, config, checkpoint, cfg_options, device, upload_limit) -> None:
    """Segment videos in the browser."""
    launch, limits = part('app', 'launch'), part('app', 'Limits')
    chosen: dict = {} if model is None else dict(model=model)
    if config is not None or checkpoint is not None or cfg_options:
        cfg, weights = choose_model(model, config, checkpoint, cfg_options)
        chosen = dict(model=cfg, weights=weights)
    launch(host, port, device=device, limits=limits(megabytes=upload_limit), **chosen)
