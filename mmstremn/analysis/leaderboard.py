"""Tables of results: rows of figures, rendered for people (terminal, Markdown, HTML) and as JSON."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd
from itables import options, to_html_datatable
from itables.javascript import generate_init_offline_itables_html
from rich import box
from rich.table import Table

from mmstremn.analysis.rows import write_json
from mmstremn.engine.atomic import write_atomically


class Column(NamedTuple):
    """A column: its title, and for numbers what they are multiplied with and their decimals."""

    title: str
    scale: float | None = None
    decimals: int = 0

    def text(self, value) -> str:
        """A cell; '-' where there is nothing, which the sorting of the HTML table takes for an empty number."""
        if value is None or pd.isna(value):
            return '-'
        return str(value) if self.scale is None else f'{self.scale * value:.{self.decimals}f}'


MEASURES = {'J': Column('J', 100, 1), 'F': Column('F', 100, 1), 'J&F': Column('J&F', 100, 1)}
COMPARISON = {
    'memory': Column('memory'),
    **MEASURES,
    'spread': Column('±', 100, 1),
    'seeds': Column('seeds', 1),
    'ms_per_frame': Column('ms a frame', 1, 1),
    'peak_memory_mib': Column('peak MiB', 1),
    'state_bytes': Column('state MB', 1e-6, 3),
    'training_seconds': Column('train s', 1),
}
INDEX = {
    'model': Column('model'),
    'collection': Column('collection'),
    'dataset': Column('data'),
    **MEASURES,
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


def summarise(rows: list[dict]) -> list[dict]:
    """A line for every memory, the best J&F first.

    Args:
        rows: What ``row.json`` of every memory and seed holds.

    Returns:
        Means over the seeds of J, F, J&F (0..1) and seconds of training, ``spread``, the standard deviation (n - 1) of J&F
        (None for one seed), medians of ms a frame, and the largest peak memory and state.
    """
    groups = pd.DataFrame(rows).groupby('memory')
    table = groups[['J', 'F', 'J&F', 'training_seconds']].mean()
    table['spread'], table['seeds'] = groups['J&F'].std(), groups.size()
    table['ms_per_frame'] = groups['ms_per_frame'].median()
    table[['peak_memory_mib', 'state_bytes']] = groups[['peak_memory_mib', 'state_bytes']].max()
    table = table.sort_values('J&F', ascending=False).reset_index()[list(COMPARISON)].astype(object)
    return table.where(table.notna(), None).to_dict('records')


def write_comparison(rows: list[dict], out: Path) -> list[dict]:
    """Write ``leaderboard.json`` (``table`` and all ``rows``), ``.md`` and ``.html``; the lines of the table."""
    table = summarise(rows)
    write_json(out / 'leaderboard.json', dict(table=table, rows=rows))
    for suffix in ('.md', '.html'):
        write_table(table, COMPARISON, out / f'leaderboard{suffix}', 'Memories compared at equal budget')
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
    return cells(lines, columns).to_markdown(index=False, disable_numparse=True, colalign=align if lines else None)


def html(lines: list[dict], columns: dict[str, Column], title: str) -> str:
    """A page with a sortable table that needs no other file and no network (about 1 MB, the table's script)."""
    table = to_html_datatable(
        cells(lines, columns), connected=False, showIndex=False, paging=False, order=[], display_logo_when_loading=False
    )
    script = generate_init_offline_itables_html(options.dt_bundle)
    return PAGE.format(title=title, body=f'{script}\n{table}')


def rich_table(lines: list[dict], columns: dict[str, Column], title: str) -> Table:
    """A table for the terminal."""
    table = Table(title=title, box=box.SIMPLE_HEAD)
    first = next(iter(columns.values()))
    for column in columns.values():
        table.add_column(
            column.title, justify='left' if column.scale is None else 'right', overflow='fold', no_wrap=column is first
        )
    for texts in cells(lines, columns).itertuples(index=False):
        table.add_row(*texts)
    return table
