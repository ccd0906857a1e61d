"""Every decode head that the installed mmsegmentation registers works with a memory, or is refused when it is
built."""

import warnings
from pathlib import Path

import pytest
import torch
from helpers.mmseg_cases import FIFO
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg import __file__ as MMSEG
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmstremn.adapters.mmseg import memory_head

SIZE = (8, 12)
LARGE = dict(LRASPPHead=(50, 50))  # pools over windows of 49
MODELS_OF = Path(MMSEG).parent / '.mim/configs/_base_/models'
REFUSED = {
    'DDRHead',
    'DPTHead',
    'IterativeDecodeHead',
    'KernelUpdateHead',
    'Mask2FormerHead',
    'MaskFormerHead',
    'OCRHead',
    'PIDHead',
    'PointHead',
    'SideAdapterCLIPHead',
    'VPDDepthHead',
}
COMPILED = {'CCHead', 'PSAHead'}  # mmcv's ops: they cannot be built here, with or without a memory
KNET = dict(
    type='IterativeDecodeHead',
    num_stages=1,
    kernel_update_head=[dict(type='FCNHead', in_channels=8, channels=8, num_classes=3)],
    kernel_generate_head=dict(type='FCNHead', in_channels=8, channels=8, num_classes=3),
)


# Heads that no base model has.
STDC = dict(
    type='STDCHead',
    in_channels=8,
    channels=8,
    num_convs=1,
    num_classes=2,
    in_index=0,
    boundary_threshold=0.1,
    norm_cfg=dict(type='BN'),
    loss_decode=[dict(type='CrossEntropyLoss', use_sigmoid=True), dict(type='DiceLoss')],
)
LIGHT_HAM = dict(
    type='LightHamHead',
    in_channels=[8, 8],
    in_index=[1, 2],
    channels=8,
    num_classes=3,
    ham_channels=8,
    norm_cfg=dict(type='BN'),
    ham_kwargs=dict(MD_R=4, train_steps=2, eval_steps=2),
)


@pytest.fixture(autouse=True)
def mmseg_scope():
    with DefaultScope.overwrite_default_scope('mmseg'), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


def base_heads() -> dict[str, dict]:
    """The first head of each type in mmsegmentation's base models."""
    heads = dict(IterativeDecodeHead=KNET, STDCHead=STDC, LightHamHead=LIGHT_HAM)
    for path in sorted(MODELS_OF.glob('*.py')):
        text = path.read_text()
        if 'mmpretrain' in text or 'decode_head' not in text:
            continue
        head = Config.fromfile(path).model.decode_head
        for one in head if isinstance(head, list) else [head]:
            heads.setdefault(one.type, one)
    return heads


HEADS = base_heads()


def remembering(head: dict):
    """The head with a small memory."""
    head = dict(head)
    if 'norm_cfg' in head:
        head['norm_cfg'] = dict(type='BN')
    memory = dict(memory=FIFO, key_channels=4, value_channels=4, pool=2)
    return MODELS.build(dict(type='mmstremn.MemoryDecodeHead', head=head, **memory))


def maps(head: BaseDecodeHead) -> list[torch.Tensor]:
    """Two frames of random maps for all levels."""
    indices = [head.in_index] if isinstance(head.in_index, int) else list(head.in_index)
    channels = [head.in_channels] if isinstance(head.in_channels, int) else list(head.in_channels)
    if head.input_transform == 'resize_concat':
        channels = [head.in_channels // len(indices)] * len(indices)
    size = LARGE.get(type(head).__name__, SIZE)
    levels = [torch.zeros(2, 1, *size)] * max(max(indices) + 1, 1)
    for index, width in zip(indices, channels, strict=True):
        levels[index] = torch.randn(2, width, *size)
    if hasattr(head, 'c1_bottleneck'):  # DeepLabV3+ also takes the first map
        levels[0] = torch.randn(2, head.c1_bottleneck.conv.in_channels, *size)
    return levels


def frames() -> list[SegDataSample]:
    """Two frames of a video, with labels."""
    samples = []
    for index in range(2):
        meta = dict(video_name='v', frame_index=index, img_shape=SIZE, ori_shape=SIZE, pad_shape=SIZE)
        sample = SegDataSample(metainfo=meta)
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 2, (1, *SIZE)))
        samples.append(sample)
    return samples


@pytest.mark.parametrize('name', sorted(HEADS.keys() - REFUSED - COMPILED))
def test_it_serves(name):
    torch.manual_seed(0)
    head = remembering(HEADS[name])
    torch.nn.init.normal_(head.feature_memory.out.weight)
    inputs, samples = maps(head.head), frames()
    losses = head.train().loss(inputs, samples, {})
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    assert head.feature_memory.out.weight.grad.abs().sum() > 0
    head.eval()
    with torch.no_grad():
        metas = [sample.metainfo for sample in samples]
        torch.manual_seed(1)  # some heads draw
        remembered = head.predict(inputs, metas, {})
        torch.manual_seed(1)
        plain = head.head.predict(inputs, metas, {})
    changed = (remembered - plain).abs().amax((1, 2, 3)) / plain.std()
    assert changed[0] < 1e-4 and changed[1] > 1e-3


@pytest.mark.parametrize('name', sorted(HEADS.keys() & REFUSED))
def test_it_is_refused(name):
    with pytest.raises((ValueError, RuntimeError), match=r'MemoryDecodeHead cannot wrap|onedl-mmcv'):
        remembering(HEADS[name])


@pytest.mark.parametrize('name', sorted(REFUSED))
def test_its_kind_is_refused(name):
    """Also of heads that cannot be built without mmcv's compiled ops or other packages."""
    kind = MODELS.module_dict[name]
    with pytest.raises(ValueError, match=f"MemoryDecodeHead cannot wrap '{name}'"):
        memory_head._check_supported(kind.__new__(kind), dict(type=name))


def test_no_registered_head_is_forgotten():
    registered = {
        name
        for name, cls in MODELS.module_dict.items()
        if isinstance(cls, type) and cls.__module__.startswith('mmseg.models.decode_heads')
    }
    parts = {'KernelUpdator'}
    assert registered - parts == HEADS.keys() | REFUSED | COMPILED


def test_an_auxiliary_head_is_refused_when_it_is_built():
    memory = dict(type='mmstremn.MemoryDecodeHead', head=dict(STDC, type='FCNHead'), memory=FIFO)
    del memory['head']['boundary_threshold']
    backbone = dict(type='ResNetV1c', depth=18, norm_cfg=dict(type='BN'))
    cfg = dict(type='EncoderDecoder', backbone=backbone, decode_head=HEADS['FCNHead'], auxiliary_head=memory)
    with pytest.raises(ValueError, match='cannot be an auxiliary head, which testing leaves out'):
        MODELS.build(dict(cfg, train_cfg={}, test_cfg=dict(mode='whole')))


def test_a_stage_of_a_cascade_is_refused_when_it_is_built():
    stages = [
        dict(type='mmstremn.MemoryDecodeHead', head=HEADS['FCNHead'], memory=FIFO),
        HEADS['OCRHead'],
    ]
    backbone = dict(type='ResNetV1c', depth=18, norm_cfg=dict(type='BN'))
    cfg = dict(type='CascadeEncoderDecoder', num_stages=2, backbone=backbone, decode_head=stages)
    with pytest.raises(ValueError, match='cannot be one of several heads, such as a stage of Cascade'):
        MODELS.build(dict(cfg, train_cfg={}, test_cfg=dict(mode='whole')))
