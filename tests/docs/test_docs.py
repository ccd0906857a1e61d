"""The site builds without warnings, and every code block of README and docs does what it says.

A page's blocks run in order in a folder of their own that looks like the repository. Python blocks share
their names; those with a ``_base_`` are configs, which are read and whose model is built. Commands run with
``small_python.py`` as ``python``; ``make`` and ``pip`` only say what they would do. A comment before a block
may add what it needs in a test (``<!-- in tests: ... -->``: code before a Python block, options after every
command), or say why it is not run (``<!-- not run: ... -->``: only for real data and GPUs).
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.annotation_files import (
    add_frames,
    add_labelme,
    annotation,
    coco,
    save_cvat,
    save_json,
    save_mots,
    shape,
)
from helpers.davis_tree import add_sequence, draw_frame, draw_ids, save_ids
from helpers.runs import ROOT
from helpers.shared_python import served
from helpers.small_python import find_checkpoint, small_config
from markdown_it import MarkdownIt
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmstremn.engine.launch import check_types
from mmstremn.registry import MODELS
from mmstremn.visualization import write_video

PAGES = [
    ROOT / 'README.md',
    *sorted(page for name in ('docs', 'results', 'studies') for page in (ROOT / name).rglob('*.md')),
]
REPOSITORY = ['configs', 'tools', 'demo', 'requirements', 'mmstremn']
REPOSITORY += ['Makefile', 'README.md', 'LICENSE', 'setup.py', 'pyproject.toml', 'model-index.yml']
NOTE = re.compile(r'<!--\s*(in tests|not run):(.*?)-->', re.DOTALL)
EXEMPT = ('real data', 'GPU')
# What the pages leave to the reader.
PLACES = dict(
    VIDEO='video.mp4',
    CLIP='video.mp4',
    FIRST='first',
    DATA='data/DAVIS',
    FILE='file',
    FRAMES='frames',
    MASKS='masks',
)


def read_blocks(page: Path) -> list[tuple[int, str, str, str, str]]:
    """Line, language, source, and kind and text of the note before it, of every fenced block of a page."""
    blocks, note = [], ('', '')
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == 'html_block' and (match := NOTE.search(token.content)):
            note = match[1], match[2].strip()
        elif token.type == 'fence':
            blocks.append((token.map[0] + 1, token.info, token.content, *note))
            note = '', ''
    return blocks


def runnable(page: Path) -> list:
    """The blocks of a page that say something to a computer."""
    return [block for block in read_blocks(page) if block[1] in ('python', 'bash')]


def add_data(folder: Path) -> None:
    """What readers have: a DAVIS, photographs, a video and its first mask, and masks that other tools
    drew."""
    for split in ('train', 'dev', 'val'):
        add_sequence(folder / 'data/DAVIS', f'{split}_one', [draw_ids(k) for k in range(8)], split=split)
    photographs = add_frames(folder / 'data/static/images', 4)
    for index in range(4):
        save_ids(folder / f'data/static/masks/{index}.png', draw_ids(index))
    (photographs.parent / 'list.txt').write_text('0\n1\n2\n3\n')
    write_video(folder / 'video.mp4', [draw_frame(draw_ids(k)) for k in range(20)], fps=10)
    save_ids(folder / 'first.png', draw_ids(0))
    frames = add_frames(folder / 'frames')
    for index in (0, 6):
        add_labelme(frames, index, [shape(index, 1), shape(index, 2)])
        save_ids(folder / f'masks/{index}.png', draw_ids(index, (1, 2)))
    save_json(folder / 'annotations.json', coco([annotation(index, k) for index in (0, 6) for k in (1, 2)]))
    save_cvat(folder / 'annotations.xml', (0, 6))
    save_mots(folder / 'instances', (0, 6))


@pytest.fixture(scope='session')
def python(tmp_path_factory) -> Iterator[str]:
    """The program that is a page's ``python``."""
    with served(tmp_path_factory.mktemp('python')) as program:
        yield program


def add_commands(folder: Path, python: str) -> None:
    """The commands of the pages that are not the machine's own."""
    folder.mkdir()
    for name, command in dict(
        python=f'{python} "$@"',
        pip=(
            f'{sys.executable} -m pip --disable-pip-version-check "$@" --dry-run --no-deps --no-index '
            '--no-build-isolation'
        ),
        make=f'{shutil.which("make")} -n "$@"',
    ).items():
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {command}\n')
        script.chmod(0o755)


@pytest.fixture
def folder(tmp_path, monkeypatch, python):
    """Like the repository, with data; configs are small here and in commands."""
    for name in REPOSITORY:
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / 'studies', tmp_path / 'studies', ignore=shutil.ignore_patterns('*.png', '*.json'))
    add_data(tmp_path)
    add_commands(tmp_path / 'bin', python)
    path = [tmp_path / 'bin', Path(sys.executable).parent, os.environ['PATH']]
    monkeypatch.setenv('PATH', os.pathsep.join(map(str, path)))
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setattr(Config, 'fromfile', staticmethod(small_config))
    monkeypatch.chdir(tmp_path)
    for name in ('DAVIS', 'STATIC', 'R18', 'OWN', 'CHECKPOINT'):
        monkeypatch.delenv(f'MMSTREMN_{name}', raising=False)
    find_checkpoint(
        Path('work_dirs/demo/stremn.pth'), 'configs/stremn_synthetic.py'
    )  # what `make demo` leaves
    find_checkpoint(Path('weights/stremn_r18.safetensors'), 'configs/vos/shipped_stremn.py')
    return tmp_path


def run_python(source: str, where: str, line: int, names: dict) -> None:
    """Execute a block with the names of the page's earlier ones; a config is read, and its model built."""
    code = compile('\n' * line + source, where, 'exec')
    if '_base_ =' not in source:
        exec(code, names)
        return
    config = Path('configs_of_pages/config.py')
    config.parent.mkdir(exist_ok=True)
    for name in Path('configs').iterdir():
        if not (config.parent / name.name).exists():
            (config.parent / name.name).symlink_to(name.resolve())
    config.write_text(source)
    cfg = small_config(config)
    check_types(cfg)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        assert MODELS.build(cfg.model)


def run_commands(source: str, options: str, line: int) -> None:
    """Run a block with bash; ``options`` come after each of its commands, and DIR and CHECKPOINT are the
    block's own."""
    source = source.replace('\\\n', ' ')
    places = PLACES | dict(DIR=f'out_{line}', CHECKPOINT=f'work_dirs/given_{line}/checkpoint.pth')
    source = re.sub(r'\b(' + '|'.join(places) + r')\b', lambda match: places[match[0]], source)
    commands = [command.split('  #')[0].rstrip() for command in source.splitlines()]
    script = '\n'.join(f'{command} {options}' for command in commands if command)
    result = subprocess.run(['bash', '-euxo', 'pipefail', '-c', script], capture_output=True, text=True)
    assert result.returncode == 0, f'{result.stdout[-3000:]}\n{result.stderr[-3000:]}'


def with_commands() -> list:
    """Pages with blocks that run; those of studies and results, which take long, in whole runs."""
    return [
        pytest.param(page, marks=[] if page.parent in (ROOT, ROOT / 'docs') else [pytest.mark.slow])
        for page in PAGES
        if runnable(page)
    ]


@pytest.mark.parametrize('page', with_commands(), ids=lambda page: str(page.relative_to(ROOT)))
def test_code_blocks(page, folder):
    names = {}
    for line, language, source, kind, note in runnable(page):
        if kind == 'not run':
            continue
        try:
            if language == 'bash':
                run_commands(source, note, line)
            else:
                exec(note, names)
                run_python(source, str(page), line, names)
        except (Exception, SystemExit) as error:
            pytest.fail(f'{page.relative_to(ROOT)}, line {line}: {type(error).__name__}: {error}')


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_exempt(page):
    for line, language, _, kind, note in read_blocks(page):
        assert language in ('python', 'bash', 'text') or language.startswith('{'), (
            f'{page}, line {line}: {language!r}'
        )
        assert kind != 'not run' or any(reason in note for reason in EXEMPT), f'{page}, line {line}: {note}'


def test_places_that_configs_read_are_documented():
    """Environment variables and their defaults."""
    pages = ' '.join(page.read_text() for page in PAGES)
    configs = [*ROOT.glob('configs/**/*.py'), *ROOT.glob('studies/**/*.py')]
    places = {
        name
        for path in configs
        for place in re.findall(r'\{\{\$(\w+):([^}]*)\}\}', path.read_text())
        for name in place
    }
    assert len(places) > 20
    assert [name for name in places if not re.search(rf'(?<![\w/]){name}(?![\w-])', pages)] == []


def test_site(tmp_path):
    """Sphinx, warnings as errors."""
    command = [
        sys.executable,
        '-m',
        'sphinx',
        '-W',
        '--keep-going',
        '-q',
        '-b',
        'html',
        '-c',
        ROOT / 'docs',
        ROOT,
        tmp_path / 'site',
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / 'site/docs/api/memory.html').stat().st_size > 10_000
