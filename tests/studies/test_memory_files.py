"""The memory files of studies, and models whose memory is replaced."""

import os
import subprocess
import sys

import pytest
import torch
from helpers.runs import ROOT
from helpers.vos_cases import tiny_config
from mmengine.config import Config

from mmstremn.comparison import plots
from mmstremn.comparison.memory_file import load_memories
from mmstremn.comparison.plan import set_memory
from mmstremn.registry import MODELS, build
from studies.shared import model_with_memory

STUDIES = ROOT / 'studies'
SLOTS = str(ROOT / 'studies/slots/memories.py')


@pytest.mark.parametrize('path', sorted(STUDIES.glob('*/memories.py')), ids=lambda path: path.parent.name)
def test_every_memory_of_a_study_builds(path):
    widths = dict(key_channels=64, value_channels=256, decoder_channels=256)
    for name, entry in load_memories(str(path)).items():
        config = entry if 'type' in entry else entry['memory']
        memory = build(config, **widths)
        assert type(memory).__name__ == config['type']
        if config['type'] == 'SlotMemory':
            gates = [type(gate).__name__ for gate in memory.gates]
            assert gates[0] == 'EmptyFirst', name
            keeps = (
                memory.num_slots > 1 and path.parent.name != 'prediction'
            )  # a first frame is the user's masks
            assert ('KeepFirst' in gates) == keeps, name
            assert ('EveryN' in gates) == ('every' in name), name


def test_numbers_in_the_names_are_those_of_the_memories():
    for name, entry in load_memories(SLOTS).items():
        assert plots.split_name(name)[1] == entry['num_slots']
    for name, entry in load_memories(str(STUDIES / 'cadence/memories.py')).items():
        assert plots.split_name(name)[1] == entry['gates'][2]['n']
        assert 'every' not in plots.split_name(name)[0]
    with pytest.raises(ValueError, match="'fifo': expected a name that ends in a number"):
        plots.split_name('fifo')


def test_width_changes_the_model():
    for name, entry in load_memories(str(STUDIES / 'width/memories.py')).items():
        cfg = Config(dict(model=tiny_config()))
        set_memory(cfg, entry)
        model = MODELS.build(cfg.model)
        assert model.value_encoder.out.conv2.out_channels == plots.split_name(name)[1]


def test_checkpoint_of_another_memory_is_loaded_as_far_as_it_fits(config, checkpoint, tmp_path):
    cfg, entry = (
        Config.fromfile(config),
        dict(type='SlotMemory', num_slots=2, selector=dict(type='FIFOSelector')),
    )
    model, missing = model_with_memory(cfg, entry, checkpoint)
    assert missing == [] and cfg.model.memory.num_slots == 3
    saved = torch.load(checkpoint)
    assert all(torch.equal(value.cpu(), saved[key]) for key, value in model.state_dict().items())
    entry['align'] = dict(type='DeformableAlign')
    with pytest.raises(RuntimeError, match=r'memory\.align'):
        model_with_memory(cfg, entry, checkpoint)
    _, missing = model_with_memory(cfg, entry, checkpoint, allow_missing=True)
    assert missing and all(key.startswith('memory.align') for key in missing)


def test_a_study_runs_from_any_folder(tmp_path):
    """Though it is not installed."""
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    command = [sys.executable, str(ROOT / 'studies/choice_headroom/run.py'), '--help']
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and '--horizon' in done.stdout, done.stderr
