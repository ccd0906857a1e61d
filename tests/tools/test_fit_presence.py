"""The tool that fits a presence head to what a frozen model gives it."""

import importlib.util

import pytest
import torch
from helpers.runs import ROOT
from safetensors.torch import load_file

from mmstremn.registry import MODELS

spec = importlib.util.spec_from_file_location('fit_presence', ROOT / 'tools/fit_presence.py')
fit_presence = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fit_presence)

CONFIG = """
_base_ = '{base}'
model = dict(presence=dict(type='PresenceHead'), memory=dict(gates=[
    dict(type='EmptyFirst'), dict(type='KeepFirst'), dict(type='MinPresence')]))
train_dataloader = dict(
    dataset=dict(_delete_=True, type="EditedClips", dataset=_base_.train_dataloader.dataset)
)
fit_videos = dict(_base_.test_dataloader.dataset, test_mode=True,
    foreign_shots=dict(shot_length=3, foreign_length=2))
"""


def write_config(folder):
    path = folder / 'presence.py'
    path.write_text(CONFIG.format(base=ROOT / 'tests/data/small_vos.py'))
    return path


def test_the_head_is_fitted_and_nothing_else_changes(tmp_path):
    config = write_config(tmp_path)
    model = MODELS.build(fit_presence.load_config(str(config)).model)
    weights = {
        name: tensor for name, tensor in model.state_dict().items() if not name.startswith('presence.')
    }
    torch.save(dict(state_dict=weights), tmp_path / 'model.pth')
    arguments = [str(config), str(tmp_path / 'model.pth')]
    loss = fit_presence.main([*arguments, str(tmp_path / 'a.safetensors'), '--clips', '4', '--videos', '2'])
    again = fit_presence.main([*arguments, str(tmp_path / 'b.safetensors'), '--clips', '4', '--videos', '2'])
    assert loss == again and loss < 0.65  # chance: .69
    fitted = load_file(tmp_path / 'a.safetensors')
    assert fitted.keys() == model.state_dict().keys()
    assert all(torch.equal(fitted[name], tensor) for name, tensor in weights.items())


def test_weights_of_another_model_are_refused(tmp_path):
    torch.save(dict(state_dict=dict(other=torch.zeros(1))), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match=r'other\.pth: missing .*expected the weights of the model'):
        fit_presence.main(
            [str(write_config(tmp_path)), str(tmp_path / 'other.pth'), str(tmp_path / 'out.pth')]
        )


def test_an_object_that_comes_later_does_not_say_that_a_frame_shows_one(tmp_path):
    model = MODELS.build(fit_presence.load_config(str(write_config(tmp_path))).model)
    source = dict(
        type='SyntheticVOSDataset',
        split='dev',
        num_frames=20,
        size=(64, 64),
        max_objects=1,
        test_mode=True,
    )
    style = dict(objects=(2, 2), foreign=0.5)
    with fit_presence.DefaultScope.overwrite_default_scope('mmstremn'):
        videos = fit_presence.DATASETS.build(
            dict(
                type='EditedVideoDataset',
                dataset=source,
                num_videos=1,
                num_frames=(60, 60),
                size=(64, 64),
                style=style,
            )
        )
    offered, write = [], model.memory.write

    def record(state, entry):
        offered.append((entry.value.shape[1], entry.extras.get('presence')))
        return write(state, entry)

    model.memory.write = record
    inputs, truth = fit_presence.record_video(model, videos, 0)
    assert inputs.shape == (len(truth), 2) and 60 < len(truth) < 120  # the second object comes later
    assert {objects for objects, _ in offered} == {1, 2}
    assert all(presence.shape == (1, objects) for objects, presence in offered)
