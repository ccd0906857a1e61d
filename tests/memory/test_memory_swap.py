"""Every registered memory takes the config's place by one option: it trains, tests, saves, loads and differs
from FIFO."""

import numpy as np
import pytest
import torch
from helpers.runs import ROOT
from helpers.vos_cases import SquaresVideo, make_clip, make_sample, tiny_config
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from mmstremn.memory import MEMORIES, SELECTORS, FIFOSelector, GumbelSelector, SlotMemory
from mmstremn.registry import MODELS

CONFIG = ROOT / 'configs/stremn_synthetic.py'
FIFO = {'type': 'SlotMemory', 'num_slots': 3, 'selector.type': 'FIFOSelector'}
SWAPS = {memory.__name__: {'type': memory.__name__} for memory in MEMORIES}
for name in ('ConvLSTMMemory', 'STLSTMMemory', 'E3DLSTMMemory'):
    SWAPS[name] |= {'hidden_channels': 4, 'kernel': 3}
SWAPS |= {s.__name__: FIFO | {'selector.type': s.__name__} for s in SELECTORS}
SWAPS['STM'] = {
    'type': 'GrowingMemory',
    'keep_last': True,
    'per_object_key': True,
    'reader.type': 'DenseReader',
    'reader.affinity.type': 'DotAffinity',
}
SWAPS['FIFO every 5th'] = FIFO | {'gates': [dict(type='EmptyFirst'), dict(type='EveryN', n=5)]}
SWAPS['first and previous (AOT)'] = FIFO | {
    'num_slots': 2,
    'gates': [dict(type='EmptyFirst'), dict(type='KeepFirst')],
}
SWAPS['aligned'] = FIFO | {'selector.type': 'MostSimilarSelector', 'align.type': 'DeformableAlign'}
SWAPS['fused'] = FIFO | {'fusion.type': 'SlotFusion', 'fusion.mode': 'average', 'fusion.threshold': 0.0}
SWAPS['local'] = FIFO | {'reader.type': 'LocalWindowReader', 'reader.radius': 1}
SWAPS['kernelized'] = FIFO | {'reader.type': 'KernelizedReader', 'reader.sigma': 2.0}
SWAPS['novel positions (SwiftNet)'] = {'type': 'MergingMemory', 'novel_share': 0.1}
ALL = pytest.mark.parametrize('swap', SWAPS.values(), ids=SWAPS.keys())


def swapped_config(swap) -> Config:
    """The config of the demo with a tiny backbone, and the options of the command line."""
    cfg = Config.fromfile(CONFIG)
    tiny = tiny_config()
    for part in ('backbone', 'value_backbone'):
        cfg.model[part] = tiny[part]
    cfg.model.update(decoder=tiny['decoder'], key_channels=8, value_channels=16)
    options = {'model.memory._delete_': True} | {f'model.memory.{key}': value for key, value in swap.items()}
    cfg.merge_from_dict(options)
    return cfg


def build(swap):
    """The swapped model; all but the memory has the same weights whatever the memory."""
    cfg = swapped_config(swap)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith('memory.') and parameter.dim() > 1:
                torch.nn.init.kaiming_normal_(parameter)
    return cfg, model


def segment(swap, length=14):
    """Masks of all frames, and the frames that the memory holds at each."""
    model = build(swap)[1].eval()
    video = SquaresVideo(length, appear=(0, 2), size=(48, 64))
    stream, masks, held = model.start(video.frame(0), video.mask(0) % 6), [], []
    for index in range(1, length):
        given = video.mask(2) // 6 * 6 if index == 2 else None
        masks.append(stream.step(video.frame(index), given))
        stamps = getattr(stream.state, 'written_at', torch.tensor([]))
        held.append(sorted(stamps[stamps >= 0].tolist()))
    return torch.stack(masks), held


@pytest.fixture(scope='module')
def fifo():
    return segment(FIFO)


def test_the_option_takes_the_place_of_the_whole_memory():
    cfg = swapped_config({'type': 'GrowingMemory', 'every': 2})
    assert cfg.model.memory == dict(type='GrowingMemory', every=2)
    assert swapped_config(FIFO).model.memory == dict(
        type='SlotMemory', num_slots=3, selector=dict(type='FIFOSelector')
    )


def test_a_memory_without_settings_is_that_of_the_papers():
    memory = build({'type': 'SlotMemory'})[1].memory
    assert type(memory) is SlotMemory
    assert type(memory.selector) is GumbelSelector


@ALL
def test_a_swapped_memory_trains(swap):
    cfg, model = build(swap)
    cfg.optim_wrapper.optimizer.lr = 1e-3
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    clips = [make_clip(0, 1, 6), make_clip(1, 2, 6)]
    data = dict(inputs=[frames for frames, _ in clips], data_samples=[sample for _, sample in clips])
    losses = [model.train().train_step(data, optimizer)['loss'].item() for _ in range(2)]
    assert np.isfinite(losses).all()
    moved = {name.split('.')[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    parts = {'key_encoder', 'value_encoder', 'decoder'}
    assert moved >= parts | ({'memory'} if list(model.memory.parameters()) else set())


@ALL
def test_a_swapped_memory_tests_a_video(swap):
    model = build(swap)[1].eval()
    video = SquaresVideo(5, appear=(0, 2))
    with torch.no_grad():
        (sample,) = model.test_step(dict(inputs=[video], data_samples=[make_sample(video)]))
    assert len(sample.pred_masks) == 5
    assert sample.frame_seconds > 0


@ALL
def test_a_stream_of_a_swapped_memory_is_saved_and_loaded(swap, tmp_path):
    model = build(swap)[1].eval()
    video = SquaresVideo(9)
    stream = model.start(video.frame(0), video.mask(0))
    for index in range(1, 6):
        stream.step(video.frame(index))
    stream.save(str(tmp_path / 'stream.safetensors'))
    loaded = model.load_stream(str(tmp_path / 'stream.safetensors'))
    for index in range(6, 9):
        assert torch.equal(loaded.step(video.frame(index)), stream.step(video.frame(index)))


@ALL
def test_a_swapped_memory_is_not_fifo(swap, fifo):
    masks, held = segment(swap)
    if swap == FIFO:
        assert torch.equal(masks, fifo[0])
        assert held == fifo[1]
    else:
        assert held != fifo[1] or not torch.equal(masks, fifo[0])
        assert (masks != fifo[0]).any(), 'what it holds makes no difference to the masks'


def test_fifo_is_among_the_swaps():
    assert FIFO in SWAPS.values()
    assert FIFOSelector in SELECTORS
