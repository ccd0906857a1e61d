"""The study of the selector's gradient, on a tiny model."""

import json
import runpy

import pytest
import torch
from helpers.runs import DATA, ROOT
from mmengine.config import Config

from mmstremn.apis import init_segmentor
from mmstremn.memory import DenseReader, EmptyFirst, SlotMemory
from mmstremn.memory.slots.gates import KeepFirst

SMALL = DATA / 'small_vos.py'
TOOL = runpy.run_path(str(ROOT / 'studies/selector_gradient/run.py'))


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """A random model to whose loss it matters what is remembered."""
    torch.manual_seed(0)
    cfg = Config.fromfile(SMALL)
    cfg.model.backbone.zero_init_last = cfg.model.value_backbone.zero_init_last = False
    model = init_segmentor(cfg, device='cpu')
    with torch.no_grad():
        model.decoder.predict.weight.mul_(300)
    file = tmp_path_factory.mktemp('model') / 'model.pth'
    torch.save(dict(state_dict=model.state_dict()), file)
    return str(file)


def run(checkpoint, *argv):
    return TOOL['main']([str(SMALL), checkpoint, '--device', 'cpu', *argv])


def test_it_measures_prints_and_saves(checkpoint, tmp_path, capsys):
    file, picture = tmp_path / 'new/gradient.json', tmp_path / 'gradient.png'
    sizes = ('--clips', '2', '--horizon', '2', '--decisions', '2')
    assert run(checkpoint, *sizes, '--out', str(file), '--plot', str(picture)) == 0
    saved = json.loads(file.read_text())
    assert set(saved['versions']) >= {'torch', 'mmstremn'}
    assert len(saved['checkpoint_sha256']) == 64
    assert saved['slots'] == 2
    summary = saved['summary']
    assert summary['decisions'] + summary['nothing_at_stake'] == len(saved['each']) == 4
    for decision in saved['each']:
        assert (
            len(decision['effects']) == len(decision['gradients']['history']) == 2
        )  # the second slot, or skipping
        assert decision['step'] in (2, 3)
    assert set(summary['methods']) == {'blending', 'history'}
    assert all(-1 <= row['correlation']['mean'] <= 1 for row in summary['methods'].values())
    assert picture.stat().st_size > 1000
    assert 'correlation' in capsys.readouterr().out
    again = tmp_path / 'again.json'
    assert run(checkpoint, *sizes, '--out', str(again)) == 0
    assert json.loads(again.read_text())['each'] == saved['each']


@pytest.mark.parametrize('argv, message', [(['--horizon', '4'], 'too short for 2 slots and 4 frames')])
def test_clips_that_are_too_short_are_refused(checkpoint, argv, message, capsys):
    assert run(checkpoint, *argv) == 1
    assert message in capsys.readouterr().err


def test_blending_is_blending():
    """d/dw of old * (1 - w) + new * w is new - old, and what is written is hard."""
    from helpers.memory_cases import make_entry

    selector = TOOL['BranchingFIFO'](2, 3)
    selector.gradient = 'blend'
    memory = SlotMemory(2, selector, DenseReader(), [EmptyFirst(), KeepFirst()]).train()
    state = None
    for index in range(3):
        entry = make_entry(index, batch=3)
        before = state
        state = memory.init(entry) if state is None else state
        state = memory.write(state, entry)
    assert state.written_at[:, 0].tolist() == [[2, 1], [0, 2], [0, 1]]
    assert selector.allowed.tolist() == [False, True, True]
    torch.testing.assert_close(state.value[1, :, 1], entry.value[1])
    (gradient,) = torch.autograd.grad(state.value[2, :, 1].sum(), selector.choice)
    torch.testing.assert_close(
        gradient[2, 0], torch.tensor([0, (entry.value[2] - before.value[2, :, 1]).sum(), 0])
    )
    assert gradient[:2].abs().max() == 0


def test_the_figures_of_a_gradient_that_knows_the_effects():
    effects = [[1.0, 2.0, 4.0], [0.5, 0.2, 0.1], [1.0, 1.0, 1.0]]
    each = [
        dict(clip=i, step=0, effects=e, gradients=dict(blending=[-x for x in e], history=[2 * x for x in e]))
        for i, e in enumerate(effects)
    ]
    summary = TOOL['summarise'](each)
    assert (summary['decisions'], summary['nothing_at_stake']) == (2, 1)
    history, blending = summary['methods']['history'], summary['methods']['blending']
    assert history['correlation']['mean'] == pytest.approx(1)
    assert blending['correlation']['mean'] == pytest.approx(-1)
    assert history['finds_best']['mean'] == 1
    assert history['gain']['mean'] == pytest.approx((4 / 3 + 0.8 / 3 - 0.1) / 2)
