"""The files of a row, in a folder of its own.

``config.py`` is the whole config, ``job.json`` says what is done with it; both are complete without the base
config. ``row.json`` is the result.
"""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from mmstremn.utils.atomic import write_json


class Row(NamedTuple):
    """A memory with a seed.

    Attributes:
        folder: ``OUT/rows/MEMORY/seed_SEED``.
        cfg: The whole config.
        job: What ``job.json`` holds.
    """

    folder: Path
    cfg: Config
    job: dict

    @property
    def name(self) -> str:
        return f'{self.job["memory"]}, seed {self.job["seed"]}'


def write_row(row: Row) -> None:
    """Write ``config.py`` and, last, ``job.json``, unless they are there (the command of the first run is
    kept)."""
    if (row.folder / 'job.json').is_file():
        return
    row.folder.mkdir(parents=True, exist_ok=True)
    row.cfg.dump(str(row.folder / 'config.py'))
    write_json(row.folder / 'job.json', row.job)


def read_rows(out: Path) -> list[dict]:
    """What ``row.json`` of every finished row in a folder holds."""
    return [json.loads(path.read_text('utf-8')) for path in sorted(out.glob('rows/*/seed_*/row.json'))]


def file_sha256(path: str | Path) -> str:
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
