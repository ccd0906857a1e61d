"""``mmstremn export``."""

from pathlib import Path

import click

from mmstremn.cli._parts import part


@click.command()
@click.argument('config')
@click.argument('weights')
@click.option('--to', 'kind', type=click.Choice(['onnx', 'openvino']), required=True)
@click.option('--out', type=Path, help='Folder for the graphs (default: work_dirs/export/<weights>).')
def command(config: str, weights: str, kind: str, out: Path | None) -> None:
    """Export the model of CONFIG with WEIGHTS as graphs for a runtime without torch."""
    out = out or Path('work_dirs/export') / Path(weights).stem
    part('export', 'export')(config, weights, to=kind, out=out)
    click.echo(f'Written to {out}')
