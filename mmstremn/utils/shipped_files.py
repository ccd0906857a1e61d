"""Configs and weights that come with the library, found alike from a repository and from an installed wheel.

``mmstremn/.mim`` holds both: links to the folders ``configs``, ``tools`` and ``weights`` in the repository,
their files in a wheel. mim and mmengine look there too.
"""

import difflib
from pathlib import Path

MIM = Path(__file__).parents[1] / '.mim'
CONFIGS, WEIGHTS = MIM / 'configs', MIM / 'weights'


def find_config(name: str | Path) -> str:
    """The path of a config.

    Args:
        name: A file, which goes first, or the name of one of the library's configs:
            ``vos/shipped_stremn.py``, ``configs/vos/shipped_stremn.py`` or
            ``mmstremn::vos/shipped_stremn.py``.

    Raises:
        FileNotFoundError: It is neither; the message names the most similar config.
    """
    if Path(name).is_file():
        return str(name)
    if found := _shipped(CONFIGS, str(name).removeprefix('mmstremn::').removeprefix('configs/')):
        return found
    there = [path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob('**/[!_]*.py')]
    similar = difflib.get_close_matches(str(name), there, 1, 0.7)
    hint = f'. Did you mean {similar[0]}?' if similar else ''
    raise FileNotFoundError(f'config {name}: no such file{hint}')


def find_weights(name: str | Path) -> str:
    """The path of a checkpoint, which may be the library's own: ``weights/stremn_r18.safetensors``.

    A file of that name in the current folder goes first. URLs, and what is nowhere, are returned as they are.
    """
    if Path(name).is_file():
        return str(name)
    return _shipped(WEIGHTS, str(name).removeprefix('weights/')) or str(name)


def _shipped(folder: Path, name: str) -> str | None:
    """A file below one of the library's folders."""
    path = folder / name
    inside = not Path(name).is_absolute() and '..' not in Path(name).parts
    return str(path) if inside and path.is_file() else None
