"""``mmstremn weights``: what is there, hash, terms."""

import hashlib
from pathlib import Path

import click

from mmstremn.apis.model_names import DEFAULT_MODEL, TERMS, named_models
from mmstremn.utils.shipped_files import WEIGHTS, find_weights


@click.command()
def command() -> None:
    """List the models that come with weights, with the SHA-256 of their files, and their terms."""
    for name, model in sorted(named_models().items()):
        path = Path(find_weights(model.weights))
        default = ' (default)' if name == DEFAULT_MODEL else ''
        click.echo(f'{name}{default}\n  config   {model.config}')
        if not path.is_file():
            click.echo(f'  weights  {model.weights}: missing')
            continue
        click.echo(f'  weights  {path} ({path.stat().st_size:,} bytes)')
        click.echo(f'  sha256   {hashlib.sha256(path.read_bytes()).hexdigest()}')
    click.echo(f'\nTerms: {TERMS} ({WEIGHTS / "model_card.md"}).')
