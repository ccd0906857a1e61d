"""The page of all models: config, weights, log and figures of every entry of the model index."""

from itertools import groupby
from pathlib import Path

from mmstremn.comparison.leaderboard import main_score, markdown
from mmstremn.comparison.metafiles import LOG, result_rows
from mmstremn.comparison.scores import SCORES, Column

HEAD = """# Model zoo

Every model of the metafiles (`configs/**/metafile.yml`) with its config, weights, log and figures. J and F
are in percent, PSNR is in dB. The terms of the weights are in the [model card](model_card.md); data and
commands of the figures are in [benchmarks](benchmarks.md). This page is made by

```bash
python tools/analysis_tools/model_zoo.py --out DIR/model_zoo.md
```

and a test compares it with the metafiles.
"""
# Numbers that are not shown in percent have the digits of the metafile.
COLUMNS = {
    'model': Column('model and config'),
    'collection': Column('collection'),
    'data': Column('trained on'),
    **{
        name: column if column.scale == 100 else column._replace(decimals=None)
        for scores in SCORES.values()
        for name, column in scores.columns.items()
    },
    'weights': Column('weights'),
    'log': Column('log'),
}


def model_zoo(models: list[dict]) -> str:
    """The page in Markdown, for a file in ``docs/``.

    It has a table for each task and data set, the best model first, then one of models without figures, then
    a list of those without weights and log.

    Args:
        models: As :func:`~mmstremn.comparison.metafiles.read_models` gives them.
    """
    rows = [row | _about(model) for model in models for row in result_rows(model)]
    rows.sort(key=lambda row: (row['task'], row['dataset'], -main_score(row)))
    sections = [
        (f'{task}: {dataset}', _table(list(group)))
        for (task, dataset), group in groupby(rows, lambda row: (row['task'], row['dataset']))
    ]
    others = [_about(model) for model in models if not model.get('Results')]
    trained = [row for row in others if row['weights'] or row['log']]
    sections += [('Without figures in the metafiles', _table(trained))]
    sections += [('Without weights and log', _list([row for row in others if row not in trained]))]
    return HEAD + ''.join(f'\n## {title}\n\n{text}\n' for title, text in sections)


def _about(model: dict) -> dict:
    """What a line says beside the scores."""
    metadata = model.get('Metadata') or {}
    weights, log = model.get('Weights'), metadata.get(LOG)
    return dict(
        model=f'[{model["Name"]}](../{model["Config"]})',
        collection=model['In Collection'],
        folder=str(Path(model['Config']).parent),
        data=', '.join(metadata.get('Training Data') or []),
        weights=weights and f'`{weights}`',
        log=log and f'[{Path(log).name}](../{log})',
    )


def _table(lines: list[dict]) -> str:
    """A Markdown table of the columns in which a line says something."""
    used = {name: column for name, column in COLUMNS.items() if any(line.get(name) for line in lines)}
    return markdown(lines, used)


def _list(lines: list[dict]) -> str:
    """A line for each folder of configs."""
    folders = dict.fromkeys(line['folder'] for line in lines)
    return '\n'.join(
        f'- `{folder}`: ' + ', '.join(line['model'] for line in lines if line['folder'] == folder)
        for folder in folders
    )
