"""Models by name: those of the metafiles that have weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmengine.fileio import load

from mmstremn.checkpoints.matching import has_own_weights, public_weights
from mmstremn.utils.shipped_files import CONFIGS, MIM, find_config, find_weights, read_config

DEFAULT_MODEL = 'stremn_r18_v2'
TERMS = (
    'research use only: learned from data of which parts are for research or non-commercial use, see the '
    'model card beside the weights'
)
_said: set[str] = set()


class NamedModel(NamedTuple):
    """A model that comes with weights.

    Attributes:
        name: Of the file of its weights, without suffix, or in the metafile.
        config: A name for :func:`~mmstremn.utils.find_config`.
        weights: A name for :func:`~mmstremn.utils.find_weights`.
    """

    name: str
    config: str
    weights: str


def named_models() -> dict[str, NamedModel]:
    """The models with weights by name; a file of weights names the model whose config builds anywhere."""
    found: dict[str, NamedModel] = {}
    for entry in _metafile_entries():
        if 'Weights' in entry:
            model = NamedModel(entry['Name'], entry['Config'], entry['Weights'])
            found[model.name] = model
            found.setdefault(Path(model.weights).stem, model._replace(name=Path(model.weights).stem))
    return found


def _metafile_entries() -> Iterator[dict]:
    for path in load(MIM / 'model-index.yml')['Import']:
        yield from load(CONFIGS.parent / path).get('Models', [])


def resolve_model(
    model: str | Path | Config, weights: str | Path | None = None
) -> tuple[str | Config, str | None]:
    """The config and the weights that belong together; no weights where the config names its own.

    Args:
        model: A name of :func:`named_models`, a config, or the path or name of one.
        weights: A file or a URL; None: those that the metafile names for the model.

    Raises:
        FileNotFoundError: There is no such model, config or file of weights.
        ValueError: No weights are known for the model.
    """
    known = named_models()
    config = model if isinstance(model, Config) else _config_of(str(model), known)
    if weights is None:
        if has_own_weights(read_config(config).model):
            return config, None
        weights = _weights_of(model, config, known)
    return config, find_weights(weights)


def _config_of(model: str, known: dict[str, NamedModel]) -> str:
    if model in known:
        return find_config(known[model].config)
    try:
        return find_config(model)
    except FileNotFoundError as error:
        names = ', '.join(known)
        raise FileNotFoundError(
            f'model {model}: expected the name of one with weights ({names}), or a config ({error})'
        ) from error


def _weights_of(model: str | Path | Config, config: str | Config, known: dict[str, NamedModel]) -> str:
    if str(model) in known:
        return known[str(model)].weights
    filename = str(config.filename if isinstance(config, Config) else config)
    for entry in known.values():
        if filename and Path(find_config(entry.config)).resolve() == Path(filename).resolve():
            return entry.weights
    memory = (read_config(config).model.get('memory') or {}).get('type')
    raise ValueError(
        f'{filename or "config"}: no weights are known for it, give a checkpoint as weights, or take a model '
        f'that comes with weights: {", ".join(known)}{public_weights(str(memory))}'
    )


def terms_of(weights: str) -> str | None:
    """The terms of weights that come with the library; None for others. Each is given once in a process."""
    shipped = {Path(find_weights(model.weights)).resolve() for model in named_models().values()}
    if Path(weights).resolve() not in shipped or weights in _said:
        return None
    _said.add(weights)
    return f'{Path(weights).name}: {TERMS}'
