"""``mmstremn doctor``: what is installed and what is missing; whether a data set is whole."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from mmstremn.__main__ import main as print_tables

KINDS = (
    'DAVIS',
    'DAVIS2016',
    'YouTubeVOS',
    'MOSE',
    'LVOS',
    'LongTimeVideo',
    'FSS1000',
    'DUTS',
    'ECSSD',
    'Photographs',
    'KTH',
    'Human36M',
    'MovingMNIST',
)


@click.command()
@click.option(
    '--data',
    type=(click.Choice(KINDS, case_sensitive=False), Path),
    metavar='KIND ROOT',
    help=f'Check the data set of this kind ({", ".join(KINDS)}) in the folder ROOT.',
)
@click.option('--split', help='Such as val (default: all that are there).')
@click.option('--quick', is_flag=True, help='Read names and headers, decode no frame.')
def command(data: tuple[str, Path] | None, split: str | None, quick: bool) -> None:
    """Print what is installed, what is registered and what to install for what is missing; or check a data
    set and say what is wrong with it."""
    if data is None:
        if split or quick:
            raise click.UsageError('--split and --quick say how a data set is checked: give --data KIND ROOT')
        print_tables()
        return
    check_data(*data, split=split, quick=quick)


def check_data(kind: str, root: Path, split: str | None = None, quick: bool = False) -> None:
    """Read a data set as training and testing do, and print what it holds.

    Args:
        kind: One of :data:`KINDS`.
        root: Its folder.
        split: See the command.
        quick: Decode no frame and no mask.

    Raises:
        click.ClickException: Files are missing or damaged; the message names all of them.
    """
    from mmstremn.cli.data_kinds import DATA_KINDS, READ_ERRORS

    data, wrong = DATA_KINDS[kind], []
    if not root.is_dir():
        raise click.ClickException(f'{root}: no such folder, expected that of {kind}')
    for name in [split] if split else data.splits(root):
        try:
            parts = data.open(root, name)
        except READ_ERRORS as error:
            wrong.append(str(error))
            continue
        frames, masks = (sum(counts) for counts in zip(*((p.frames, p.masks) for p in parts), strict=True))
        click.echo(f'{root}, {name}: {len(parts)} {data.unit}, {frames} frames, {masks} masks')
        published = data.published.get(name, (len(parts),))
        if len(parts) not in published:
            click.echo(f'  as published it has {" or ".join(map(str, published))} {data.unit}')
        if not quick:
            with ThreadPoolExecutor(max_workers=4) as pool:
                wrong += [line for lines in pool.map(lambda p: list(p.damage()), parts) for line in lines]
    if wrong:
        raise click.ClickException('\n'.join([f'{kind} cannot be used as it is:', *wrong]))
    click.echo('All names and headers are as expected.' if quick else 'All frames and masks can be read.')
