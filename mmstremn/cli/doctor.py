"""``mmstremn doctor``: what is installed and what is missing; whether a data set is whole."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from mmstremn.__main__ import main as print_tables

KINDS = ('DAVIS', 'DAVIS2016', 'YouTubeVOS')


@click.command()
@click.option(
    '--data',
    type=(click.Choice(KINDS, case_sensitive=False), Path),
    metavar='KIND ROOT',
    help=f'Check the data set of this kind ({", ".join(KINDS)}) in the folder ROOT.',
)
@click.option('--split', help='A list of the data set such as val (default: all; YouTubeVOS: train).')
@click.option('--quick', is_flag=True, help='Read names and headers, decode no frame.')
def command(data: tuple[str, Path] | None, split: str | None, quick: bool) -> None:
    """Print what is installed, what is registered and what to install for what is missing; or check a data
    set and say what is wrong with it."""
    if data is None:
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
        FileNotFoundError: A file or folder is missing.
        click.ClickException: Frames or masks are damaged; the message names all of them.
    """
    from mmstremn.datasets import DAVISDataset, YouTubeVOSDataset

    if kind == 'YouTubeVOS':
        dataset = YouTubeVOSDataset(str(root), split=split or 'train')
    else:
        dataset = DAVISDataset(str(root), year=2016 if kind == 'DAVIS2016' else 2017, split=split)
    videos = [dataset.get_data_info(index)['video'] for index in range(len(dataset))]
    frames, masks = sum(v.num_frames for v in videos), sum(len(v.annotated) for v in videos)
    click.echo(f'{root}: {len(videos)} sequences, {frames} frames, {masks} masks')
    if quick:
        return
    with ThreadPoolExecutor(max_workers=4) as pool:
        wrong = [line for lines in pool.map(_damage, videos) for line in lines]
    if wrong:
        raise click.ClickException('\n'.join([f'{len(wrong)} files cannot be used:', *wrong]))
    click.echo('All frames and masks can be read.')


def _damage(video) -> list[str]:
    """What is wrong with the files of a video, a line each."""
    wrong = []
    for read, indices in ((video.frame, range(video.num_frames)), (video.mask, video.annotated)):
        for index in indices:
            try:
                read(index)
            except (OSError, ValueError) as error:
                wrong.append(str(error))
    return wrong
