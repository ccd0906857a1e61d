"""``mmstremn score``: J, F and J&F of predicted masks against true ones."""

from pathlib import Path

import click

from mmstremn.datasets.vos.davis_layout import read_sequence_list
from mmstremn.evaluation import global_measures, score_table
from mmstremn.evaluation.mask_folders import score_mask_folders
from mmstremn.utils.atomic import check_place, write_json


@click.command()
@click.argument('predicted', type=Path)
@click.argument('truth', type=Path)
@click.option('--out', type=Path, metavar='FILE', help='Write the figures of all objects as JSON.')
@click.option(
    '--list',
    'names',
    type=Path,
    metavar='FILE',
    help='Names of the videos that count, such as ImageSets/2017/val.txt (default: all of TRUTH).',
)
@click.option('--single-object', is_flag=True, help='All ids are one object, as in DAVIS 2016.')
def command(predicted: Path, truth: Path, out: Path | None, names: Path | None, single_object: bool) -> None:
    """Score the masks PREDICTED/<video>/<frame>.png against TRUTH/<video>/<frame>.png.

    Both may also be folders of the masks of one video. By the rules of DAVIS: the first and the last frame
    do not count, figures are means over all objects.
    """
    if out is not None:
        check_place(out)
    listed = None if names is None else read_sequence_list(names)
    scored = score_mask_folders(predicted, truth, listed, single_object)
    for name, ids in scored.unknown_ids.items():
        click.echo(f"video '{name}': predicted ids {ids} are not in the true masks: background", err=True)
    for reason in scored.unscored.values():
        click.echo(f'not scored: {reason}', err=True)
    if not scored.videos:
        raise click.ClickException(f'{truth}: no video can be scored')
    metrics = global_measures(scored.videos)
    if out is not None:
        write_json(out, dict(metrics=metrics, videos=scored.videos, unscored=scored.unscored))
    click.echo(score_table(scored.videos, metrics))
