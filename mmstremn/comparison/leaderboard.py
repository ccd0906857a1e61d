"""Tables of results: rows of scores, rendered for people (terminal, Markdown, HTML) and as JSON."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from itables import options, to_html_datatable
from itables.javascript import generate_init_offline_itables_html
from rich import box
from rich.table import Table

from mmstremn.comparison.scores import SCORES, Column, compared_scores, scores_of
from mmstremn.utils.atomic import write_atomically, write_json

INDEX = {
    'model': Column('model'),
    'collection': Column('collection'),
    'dataset': Column('data'),
    **{name: column for scores in SCORES.values() for name, column in scores.columns.items()},
    'config': Column('config'),
    'log': Column('log'),
    'checkpoint_sha256': Column('checkpoint (SHA-256)'),
}
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
</head>
<body style="font-family: sans-serif">
<h1>{title}</h1>
{body}
</body>
</html>
"""


def comparison_columns(rows: list[dict]) -> dict[str, Column]:
    """The columns of a comparison: what its metric measures, and what it costs."""
    scores = scores_of(rows)
    return {
        'memory': Column('memory'),
        **compared_scores(rows[0]),
        'spread': scores.columns[scores.main]._replace(title='±'),
        'seeds': Column('seeds', 1),
        'ms_per_frame': Column('ms a frame', 1, 1),
        'peak_memory_mib': Column('peak MiB', 1),
        'state_bytes': Column('state MB', 1e-6, 3),
        'training_seconds': Column('train s', 1),
    }


def index_columns(lines: list[dict], names: Sequence[str] = tuple(INDEX)) -> dict[str, Column]:
    """The columns of the model index of these names, without scores that no line has."""
    return {
        key: INDEX[key] for key in names if INDEX[key].scale is None or any(key in line for line in lines)
    }


def main_score(line: dict) -> float:
    """The score that decides the order among the lines of one data set; 0 where there is none."""
    return next((line[scores.main] for scores in SCORES.values() if scores.main in line), 0)


def summarise(rows: list[dict]) -> list[dict]:
    """A line for every memory, the one with the highest main score first.

    Args:
        rows: What ``row.json`` of every memory and seed holds.

    Returns:
        Means over the seeds of the compared scores (J, F, J&F are of 0..1) and of the seconds of training,
        ``spread``, the standard deviation (n - 1) of the main score (None for one seed), medians of ms a
        frame, and the largest peak memory and state.
    """
    main, groups = scores_of(rows).main, pd.DataFrame(rows).groupby('memory')
    table = groups[[*compared_scores(rows[0]), 'training_seconds']].mean()
    table['spread'], table['seeds'] = groups[main].std(), groups.size()
    table['ms_per_frame'] = groups['ms_per_frame'].median()
    table[['peak_memory_mib', 'state_bytes']] = groups[['peak_memory_mib', 'state_bytes']].max()
    table = (
        table.sort_values(main, ascending=False).reset_index()[list(comparison_columns(rows))].astype(object)
    )
    return table.where(table.notna(), None).to_dict('records')


def write_comparison(rows: list[dict], out: Path) -> list[dict]:
    """Write ``leaderboard.json`` (``table`` and all ``rows``), ``.md`` and ``.html``; the lines of the
    table."""
    table, columns = summarise(rows), comparison_columns(rows)
    write_json(out / 'leaderboard.json', dict(table=table, rows=rows))
    for suffix in ('.md', '.html'):
        write_table(table, columns, out / f'leaderboard{suffix}', 'Memories compared at equal budget')
    return table


def write_table(lines: list[dict], columns: dict[str, Column], path: Path, title: str) -> None:
    """Write lines as ``.json``, ``.md`` or ``.html``, by the suffix of the path.

    Raises:
        ValueError: Another suffix.
    """
    if path.suffix == '.json':
        write_json(path, lines)
    elif path.suffix == '.md':
        write_atomically(path, f'# {title}\n\n{markdown(lines, columns)}\n'.encode())
    elif path.suffix == '.html':
        write_atomically(path, html(lines, columns, title).encode())
    else:
        raise ValueError(f'{path}: expected a name that ends in .json, .md or .html')


def cells(lines: list[dict], columns: dict[str, Column]) -> pd.DataFrame:
    """All cells as text."""
    texts = [[column.text(line.get(key)) for key, column in columns.items()] for line in lines]
    return pd.DataFrame(texts, columns=[column.title for column in columns.values()])


def markdown(lines: list[dict], columns: dict[str, Column]) -> str:
    """A Markdown table."""
    align = ['left' if column.scale is None else 'right' for column in columns.values()]
    return cells(lines, columns).to_markdown(
        index=False, disable_numparse=True, colalign=align if lines else None
    )


def html(lines: list[dict], columns: dict[str, Column], title: str) -> str:
    """A page with a sortable table that needs no other file and no network (about 1 MB, the table's
    script)."""
    table = to_html_datatable(
        cells(lines, columns),
        connected=False,
        showIndex=False,
        paging=False,
        order=[],
        display_logo_when_loading=False,
    )
    script = generate_init_offline_itables_html(options.dt_bundle)
    return PAGE.format(title=title, body=f'{script}\n{table}')


def rich_table(lines: list[dict], columns: dict[str, Column], title: str) -> Table:
    """A table for the terminal."""
    table = Table(title=title, box=box.SIMPLE_HEAD)
    first = next(iter(columns.values()))
    for column in columns.values():
        table.add_column(
            column.title,
            justify='left' if column.scale is None else 'right',
            overflow='fold',
            no_wrap=column is first,
        )
    for texts in cells(lines, columns).itertuples(index=False):
        table.add_row(*texts)
    return table
