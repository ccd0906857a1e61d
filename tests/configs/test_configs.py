"""Every config loads, names only what is registered and builds; the baselines differ from STReMN in the
memory alone."""

import pytest
import torch
import yaml
from helpers.memory_cases import full_clip, run
from helpers.runs import ROOT
from mmengine.config import Config

from mmstremn.engine.launch import check_types
from mmstremn.registry import MODELS, build

CONFIGS = ROOT / 'configs'
ALL = sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)
VOS = [
    path for path in ALL if path.parent.name in ('configs', 'vos')
]  # the other folders have tests of their own
PURE_PYTHON = CONFIGS / 'stremn_davis_pure_python.py'


def plain(cfg: Config) -> dict:
    """Without what differs by name: where the config stands."""
    return by_name({key: value for key, value in cfg.to_dict().items() if key != 'filename'})


def by_name(node):
    """With every class, or its full name, replaced by its own name."""
    if isinstance(node, dict):
        return {key: by_name(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(by_name(item) for item in node)
    if isinstance(node, str) and node.startswith(('mmstremn.', 'mmengine.', 'torch.')):
        return node.rpartition('.')[2]
    return node.__name__ if isinstance(node, type) else node


@pytest.mark.parametrize('path', VOS, ids=lambda path: path.stem)
def test_config_builds_a_model(path):
    cfg = Config.fromfile(path)
    check_types(cfg)
    for name in ('backbone', 'value_backbone'):
        cfg.model[name].update(model_name='resnet10t', pretrained=False, checkpoint=None)
    model = MODELS.build(cfg.model)
    assert type(model.memory).__name__ == by_name(cfg.model.memory.type)


@pytest.mark.parametrize('name', ['stm', 'stcn', 'fifo'])
def test_baseline_differs_in_its_memory_alone(name):
    stremn, other = (Config.fromfile(CONFIGS / f'{config}_davis.py') for config in ('stremn', name))
    assert other.model.memory != stremn.model.memory
    other.model.memory = stremn.model.memory
    assert plain(other) == plain(stremn)
    assert len((CONFIGS / f'{name}_davis.py').read_text().splitlines()) <= 12


def test_pure_python_config_says_the_same_and_survives_being_written(tmp_path):
    """mmengine writes the config of every run into its work folder."""
    cfg = Config.fromfile(PURE_PYTHON)
    assert plain(cfg) == plain(Config.fromfile(CONFIGS / 'stremn_davis.py'))
    assert cfg.model.type.__name__ == 'VOSegmentor'
    cfg.dump(tmp_path / 'written.py')
    assert plain(Config.fromfile(tmp_path / 'written.py')) == plain(cfg)


def test_selector_has_three_choices_a_clip():
    for path in VOS:
        cfg = Config.fromfile(path)
        selector = by_name(cfg.model.memory.get('selector', {}).get('type'))
        if selector == 'GumbelSelector' and 'memory.selector' not in cfg.model.get('frozen', ()):
            writes = cfg.train_dataloader.dataset.clip_length - 1
            assert writes - cfg.model.memory.train_slots >= 3, path


def test_model_index_names_configs_and_logs_that_exist():
    root = CONFIGS.parent
    models = []
    for path in yaml.safe_load((root / 'model-index.yml').read_text())['Import']:
        models += yaml.safe_load((root / path).read_text())['Models']
    assert {model['Config'] for model in models} == {str(path.relative_to(root)) for path in ALL}
    for model in models:
        log = model.get('Metadata', {}).get('Training Log')
        assert log is None or (root / log).is_file(), log
        assert log is not None or 'Results' not in model, f'{model["Name"]}: results without a log'


@pytest.mark.parametrize(('prompted', 'held'), [((0,), [0, 25, 30, 35, 40]), ((0, 7), [0, 7, 30, 35, 40])])
def test_the_model_of_the_demo_keeps_every_prompted_frame(prompted, held):
    """With one prompt it holds what it held when the first frame alone was protected."""
    cfg = Config.fromfile(CONFIGS / 'vos/absence_head.py').model
    memory = build(dict(cfg.memory, selector=dict(type='FIFOSelector'))).eval()
    entries, _ = full_clip(41, prompted=prompted)
    with torch.no_grad():
        state, _ = run(memory, entries)
    assert sorted(memory.timeline(state).tolist()) == held
