"""What the wheel and the extras hold, what an index shows, and a training and a test by ``mim`` from the
wheel."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import setuptools
from helpers.runs import ROOT

from mmstremn.mm_packages import INSTALL

MIM_FILES = {
    f'mmstremn/.mim/{path.relative_to(ROOT)}'
    for folder in ('configs', 'tools', 'weights')
    for path in (ROOT / folder).rglob('*')
    if path.suffix in ('.py', '.sh', '.yml', '.safetensors', '.md')
} | {'mmstremn/.mim/model-index.yml'}


def given_to_setuptools(repository: str) -> dict:
    """What setup.py gives to setuptools, with the address of the repository or ''."""
    with pytest.MonkeyPatch.context() as patch:
        given = {}
        patch.setattr(setuptools, 'setup', lambda **kwargs: given.update(kwargs))
        patch.setenv('MMSTREMN_REPOSITORY', repository)
        runpy.run_path(str(ROOT / 'setup.py'))
    return given


@pytest.fixture(scope='module')
def arguments():
    """What setup.py gives to setuptools."""
    return given_to_setuptools('')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """A wheel built from a source distribution of a copy of the repository, with the setuptools that are
    installed here."""
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    source.mkdir()
    for name in ('mmstremn', 'configs', 'tools', 'weights', 'docs', 'requirements'):
        shutil.copytree(ROOT / name, source / name, symlinks=True)
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE', 'model-index.yml', 'MANIFEST.in'):
        shutil.copy(ROOT / name, source)
    program = 'from setuptools import build_meta; build_meta.build_{}(' + repr(str(folder)) + ')'
    run([sys.executable, '-c', program.format('sdist')], source)
    archive = next(folder.glob('*.tar.gz'))
    shutil.unpack_archive(archive, folder)
    run(
        [sys.executable, '-c', program.format('wheel')],
        archive.with_name(archive.name.removesuffix('.tar.gz')),
    )
    return next(folder.glob('*.whl'))


def run(command: list, folder: Path) -> str:
    """The output of a command that must succeed, in a process that does not see the repository."""
    environment = {
        key: value for key, value in os.environ.items() if key not in ('PYTHONPATH', 'PIP_CONSTRAINT', 'HOME')
    }
    command = [str(part) for part in command]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, f'{command}: {result.stdout[-3000:]}{result.stderr[-3000:]}'
    return result.stdout + result.stderr


def names(requirements: list[str]) -> set[str]:
    return {re.split('[<>=]', requirement)[0] for requirement in requirements}


def test_extras(arguments):
    extras = {extra: names(requirements) for extra, requirements in arguments['extras_require'].items()}
    assert extras.keys() == {
        'mm',
        'mmseg',
        'tracking',
        'analysis',
        'conversion',
        'prediction',
        'sam2',
        'app',
        'export',
        'openvino',
        'tests',
        'dev',
        'all',
    }
    assert extras['mm'] == extras['mmseg'] & extras['tracking']
    used = extras['mmseg'] | extras['tracking'] | extras['analysis']
    others = ('conversion', 'prediction', 'sam2', 'app', 'export', 'openvino')
    assert extras['all'] == used.union(*(extras[name] for name in others))
    assert used | {'pytest', 'ruff', 'sphinx'} <= extras['tests'] < extras['dev']


def test_no_mm_package_is_required(arguments):
    """Requiring mmengine, or its fork, would overwrite the other where that is installed."""
    assert not any(name.startswith(('mm', 'onedl')) for name in names(arguments['install_requires']))


def test_tested_versions_are_of_packages_that_are_required_and_meet_their_bounds(arguments):
    required = {
        *arguments['install_requires'],
        *(r for extra in arguments['extras_require'].values() for r in extra),
    }
    pins = dict(
        line.split('==')
        for line in (ROOT / 'requirements/tested.txt').read_text().splitlines()
        if '==' in line
    )
    assert pins.keys() <= names(required)
    for requirement in required:
        name, bound, lowest = requirement.partition('>=')
        if bound:
            assert [int(n) for n in pins[name].split('.')] >= [int(n) for n in lowest.split('.')], requirement


@pytest.mark.parametrize('package, extra', [('mmengine', 'mm'), ('mmseg', 'mmseg'), ('mmdet', 'tracking')])
def test_what_we_tell_users_to_install_is_what_the_extras_install(package, extra, arguments):
    packages = INSTALL[package].removeprefix('pip install ').split()
    new = names(arguments['extras_require'][extra]) - (
        names(arguments['extras_require']['mm']) if extra != 'mm' else set()
    )
    assert names(packages) == new
    pins = (ROOT / 'requirements/tested.txt').read_text().split()
    assert all(package in pins for package in packages if '==' in package)


def relative_links(markdown: str) -> list[str]:
    """The links of a page, but for those with a scheme."""
    targets = re.findall(r'\]\(([^)\s]+)\)', markdown)
    return [target for target in targets if not re.match('https?:|#', target)]


def test_links_of_the_description_lead_to_the_repository(arguments):
    home = 'https://example.org/mmstremn'
    given = given_to_setuptools(home + '/')
    version = given['version']
    readme = (ROOT / 'README.md').read_text()
    assert relative_links(readme) and not relative_links(given['long_description'])
    assert f'[LICENSE]({home}/blob/v{version}/LICENSE)' in given['long_description']
    assert f']({home}/raw/v{version}/docs/images/demo.png)' in given['long_description']
    assert given['project_urls']['Source'] == home
    without = arguments['long_description']
    assert not relative_links(without) and 'Apache-2.0 (LICENSE)' in without
    assert '[arXiv 2109.06474](https://arxiv.org/abs/2109.06474)' in without


def test_an_index_would_take_both_archives(wheel):
    archives = [wheel, *wheel.parent.glob('*.tar.gz')]
    said = run([sys.executable, '-m', 'twine', 'check', '--strict', *archives], wheel.parent)
    assert said.count('PASSED') == len(archives) == 2
    content = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in content.namelist() if name.endswith('.dist-info/METADATA'))
    folder = Path(metadata).parent / 'licenses'
    assert content.read(str(folder / 'LICENSE')) == (ROOT / 'LICENSE').read_bytes()
    assert (
        content.read(str(folder / 'weights/model_card.md')) == (ROOT / 'weights/model_card.md').read_bytes()
    )
    stated = content.read(metadata).decode().split('\n\n')[0]
    assert 'License-Expression: Apache-2.0 AND LicenseRef-research-only-weights' in stated


def test_wheel_holds_configs_and_tools_for_mim_and_the_weights_with_their_terms(wheel):
    content = zipfile.ZipFile(wheel)
    files = {name for name in content.namelist() if name.startswith('mmstremn/.mim/')}
    assert files == MIM_FILES
    for name in files:
        assert content.read(name) == (ROOT / name.removeprefix('mmstremn/.mim/')).read_bytes()
    assert b'Research only' in content.read('mmstremn/.mim/weights/model_card.md')


def test_wheel_holds_every_module_and_nothing_else(wheel):
    files = {name for name in zipfile.ZipFile(wheel).namelist() if '.dist-info/' not in name} - MIM_FILES
    modules = {path for path in (ROOT / 'mmstremn').rglob('*.py') if '.mim' not in path.parts}
    assert files == {str(path.relative_to(ROOT)) for path in modules} | {'mmstremn/py.typed'}


FROM_THE_WHEEL = """
import sys, torch
from importlib.metadata import distributions
from pathlib import Path
from PIL import Image
from mmengine.config import Config
from mmengine.hub import get_config, get_model
import mmstremn
from mmstremn.apis import init_segmentor
from mmstremn.checkpoints.convert import build_model
from mmstremn.comparison.memory_file import load_memories
from mmstremn.comparison.scores import SCORES

assert Path(mmstremn.__file__).is_relative_to(sys.argv[1]) and not any(Path().iterdir())
name, weights = 'vos/shipped_stremn.py', 'weights/stremn_r18.safetensors'
models = [init_segmentor(prefix + name, weights, 'cpu') for prefix in ('', 'configs/', 'mmstremn::')]
models.append(get_model('mmstremn::vos/stremn_r18.py', pretrained=True))
for model in models[1:]:
    for one, other in zip(models[0].parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other)
assert all(load_memories(scores.memory_file) for scores in SCORES.values())
assert build_model('vos/xmem_official.py')
assert get_config('mmstremn::' + name).model.type == 'VOSegmentor'
(installed,) = distributions(path=sys.argv[1:])
(command,) = installed.entry_points.select(group='console_scripts', name='mmstremn')
shots = Path('shöts 1')
shots.mkdir()
for picture in ('0.png', '1.png'):
    Image.new('RGB', (64, 48), 'gray').save(shots / picture)
mask = Image.new('L', (64, 48))
mask.paste(255, (8, 8, 40, 40))
mask.save('mäsk 1.png')
options = ['--mask', 'mäsk 1.png', '--label', '1=Mönch', '--device', 'cpu']
options += ['--output', 'masks', '--output', 'csv']
assert command.load()(['segment', str(shots), *options]) == 0
results = Path('work_dirs/segment', shots.name)
assert len(list((results / 'masks').iterdir())) == 2
assert 'Mönch' in (results / 'objects.csv').read_text('utf-8')
Path('mine.py').write_text(f"_base_ = 'mmstremn::{name}'")
assert Config.fromfile('mine.py').model.short_side == 480
"""


def test_names_of_the_documentation_work_in_an_empty_folder(wheel, tmp_path):
    """Where the wheel is all that there is of the library."""
    site, empty = tmp_path / 'sité of packages', tmp_path / 'an émpty folder'
    zipfile.ZipFile(wheel).extractall(site)
    empty.mkdir()
    program = f'import sys; sys.path.insert(0, {str(site)!r})\n{FROM_THE_WHEEL}'
    run([sys.executable, '-W', 'ignore', '-c', program, site], empty)


@pytest.fixture(scope='module')
def environment_of_mim(wheel, tmp_path_factory):
    """An environment with openmim and the wheel that sees the packages of this one, torch among them."""
    folder = tmp_path_factory.mktemp('environment')
    run([sys.executable, '-m', 'venv', folder], folder)
    pip = [folder / 'bin/python', '-m', 'pip', 'install', '-q', '--disable-pip-version-check']
    run([*pip, 'openmim==0.3.9'], folder)
    run([*pip, '--no-deps', wheel], folder)
    site = next(folder.glob('lib/*/site-packages'))
    # Behind its own packages on sys.path, and without the editable installs of that folder.
    (site / 'torch_of_another_environment.pth').write_text(sysconfig.get_paths()['purelib'] + '\n')
    return folder


@pytest.mark.slow
def test_mim_trains_and_tests_the_wheel(environment_of_mim, tmp_path):
    python, mim = (environment_of_mim / 'bin' / name for name in ('python', 'mim'))
    place = run(
        [python, '-W', 'ignore', '-c', 'import mmstremn, torch; print(mmstremn.__file__)'], tmp_path
    ).strip()
    assert place.startswith(str(environment_of_mim))
    small = [
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'param_scheduler=None',
    ]
    small += [
        'train_dataloader.dataset.size=(48,48)',
        'train_dataloader.batch_size=1',
        'train_cfg.max_iters=2',
    ]
    small += ['train_cfg.val_begin=9', 'train_cfg.val_interval=9', 'test_dataloader.num_workers=0']
    small += [f'test_dataloader.dataset.{key}' for key in ('size=(48,48)', 'num_videos=1', 'num_frames=4')]
    options = ['--work-dir', tmp_path / 'work', '--cfg-options', *small]
    log = run([mim, 'train', 'mmstremn', 'stremn_synthetic.py', '--gpus', '0', *options], tmp_path)
    assert 'Training finished successfully' in log and f'{environment_of_mim}/lib' in log
    checkpoint = ['--checkpoint', tmp_path / 'work/iter_2.pth']
    log = run(
        [mim, 'test', 'mmstremn', 'stremn_synthetic.py', *checkpoint, '--gpus', '0', *options], tmp_path
    )
    assert 'DAVIS/J&F' in log and 'Testing finished successfully' in log
    assert 'SlotMemory' in run([python, '-m', 'mmstremn'], tmp_path)
    run([mim, 'search', 'mmstremn', '--model', 'stremn', '--json', 'found.json'], tmp_path)
    assert (
        json.loads((tmp_path / 'found.json').read_text())['config']['stremn_synthetic']
        == 'configs/stremn_synthetic.py'
    )
