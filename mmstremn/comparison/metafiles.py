"""The model index and its metafiles, as every MM project has them: read and checked.

A result row must be reproducible: its model names a config and a log that exist and the hash of the tested
checkpoint.
"""

import re
from pathlib import Path

import yaml

LOG, CHECKPOINT = 'Training Log', 'Checkpoint SHA256'


def read_index(index: Path) -> tuple[list[dict], list[str]]:
    """The result rows of a model index, and what is wrong with it.

    Args:
        index: ``model-index.yml``; paths in it and in its metafiles are relative to its folder.

    Returns:
        A row for every entry of a model's ``Results`` (keys as in ``tools/analysis_tools/leaderboard.py``),
        and lines ``file: model: key: what is wrong``.
    """
    models, problems = read_models(index)
    return [] if problems else [row for model in models for row in result_rows(model)], problems


def read_models(index: Path) -> tuple[list[dict], list[str]]:
    """All models of a model index in its order, and what is wrong with it, see :func:`read_index`."""
    content, problems = load(index)
    root, metafiles = index.parent, {}
    paths = content.get('Import') if isinstance(content, dict) else None
    if not isinstance(paths, list) or not paths:
        return [], problems or [f'{index}: Import: expected a list of metafiles']
    for path in paths:
        metafile, errors = load(root / path)
        problems += errors
        metafiles[path] = metafile if isinstance(metafile, dict) else {}
    collections = [item for metafile in metafiles.values() for item in items(metafile, 'Collections')]
    models = [(path, item) for path, metafile in metafiles.items() for item in items(metafile, 'Models')]
    for path, metafile in metafiles.items():
        for collection in items(metafile, 'Collections'):
            problems += located(path, collection, check_collection(collection, root))
    collection_names = names(collections)
    model_names = names([model for _, model in models])
    for path, model in models:
        problems += located(path, model, check_model(model, root, collection_names, model_names))
    return [model for _, model in models], problems


def load(path: Path) -> tuple[object, list[str]]:
    """The content of a YAML file and what keeps it from being read."""
    try:
        return yaml.safe_load(path.read_text('utf-8')), []
    except (OSError, yaml.YAMLError) as error:
        return None, [f'{path}: cannot be read: {error}']


def items(metafile: dict, key: str) -> list[dict]:
    return [item for item in metafile.get(key) or [] if isinstance(item, dict)]


def names(entries: list[dict]) -> list:
    return [entry.get('Name') for entry in entries]


def located(path: str, entry: dict, problems: list[str]) -> list[str]:
    """Problems with the file and the name of their entry."""
    return [f'{path}: {entry.get("Name", "an entry without a name")}: {problem}' for problem in problems]


def check_collection(collection: dict, root: Path) -> list[str]:
    """What is wrong with an entry of ``Collections``."""
    problems = [] if is_text(collection.get('Name')) else ['Name: expected a text']
    for group, key in (('Paper', 'Title'), ('Paper', 'URL'), ('Code', 'URL')):
        if not is_text((collection.get(group) or {}).get(key)):
            problems.append(f'{group}.{key}: expected a text')
    for key, path in (
        ('README', collection.get('README')),
        ('Code.URL', (collection.get('Code') or {}).get('URL')),
    ):
        problems += check_file(key, path, root)
    return problems


def check_model(model: dict, root: Path, collections: list, models: list) -> list[str]:
    """What is wrong with an entry of ``Models``; the last two arguments are all names."""
    problems = [] if is_text(model.get('Name')) else ['Name: expected a text']
    if models.count(model.get('Name')) > 1:
        problems.append('Name: another model has it too')
    if model.get('In Collection') not in collections:
        problems.append(
            f"In Collection: '{model.get('In Collection')}' is none of {', '.join(map(str, collections))}"
        )
    problems += check_file('Config', model.get('Config'), root)
    metadata, results = model.get('Metadata') or {}, model.get('Results') or []
    start = metadata.get('Starts From')
    if start is not None and start not in models:
        problems.append(f"Metadata.Starts From: '{start}' is no model")
    if LOG in metadata or results:
        problems += check_file(f'Metadata.{LOG}', metadata.get(LOG), root)
    digest = metadata.get(CHECKPOINT)
    if (CHECKPOINT in metadata or results) and not re.fullmatch('[0-9a-f]{64}', str(digest)):
        problems.append(f'Metadata.{CHECKPOINT}: expected 64 hexadecimal digits, got {digest}')
    for place, result in enumerate(results):
        problems += [f'Results[{place}].{problem}' for problem in check_result(result)]
    return problems


def check_result(result: dict) -> list[str]:
    """What is wrong with an entry of ``Results``."""
    problems = [f'{key}: expected a text' for key in ('Task', 'Dataset') if not is_text(result.get(key))]
    metrics = result.get('Metrics')
    if not isinstance(metrics, dict) or not metrics:
        return [*problems, 'Metrics: expected scores by name']
    return problems + [
        f'Metrics.{key}: expected a number, got {value}'
        for key, value in metrics.items()
        if not isinstance(value, int | float) or isinstance(value, bool)
    ]


def check_file(key: str, path, root: Path) -> list[str]:
    if not is_text(path):
        return [f'{key}: expected the path of a file, got {path}']
    return [] if (root / path).is_file() else [f'{key}: {path}: no such file']


def is_text(value) -> bool:
    return isinstance(value, str) and value != ''


def result_rows(model: dict) -> list[dict]:
    """The scores of a model, a row for every data set."""
    metadata, results = model.get('Metadata') or {}, model.get('Results') or []
    about = dict(model=model['Name'], collection=model['In Collection'], config=model['Config'])
    about |= dict(log=metadata.get(LOG), checkpoint_sha256=metadata.get(CHECKPOINT))
    return [
        about | dict(task=result['Task'], dataset=result['Dataset']) | result['Metrics'] for result in results
    ]
