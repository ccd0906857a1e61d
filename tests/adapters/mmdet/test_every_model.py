"""Every tracking model that the installed MMDetection registers takes a MemoryTracker, or is refused with its
name."""

from contextlib import nullcontext

import helpers.tracking_cases  # noqa: F401  (skips without mmdet, and installs the stub)
import pytest
import torch
from mmdet.models.mot import BaseMOTModel
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

import mmstremn.adapters.mmdet  # noqa: F401  (registers)
from mmstremn.engine.launch import load_config
from mmstremn.registry import build

SERVED = {'MaskTrackRCNN', 'QDTrack'}  # tests/adapters/mmdet/test_models.py runs them
BYTETRACK = 'mmdet::bytetrack/bytetrack_yolox_x_8xb4-80e_crowdhuman-mot17halftrain_test-mot17halfval.py'
QDTRACK = 'mmdet::qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py'
OURS = 'mmstremn::adapters/tracking/masktrack_rcnn_memory.py'
FIFO = dict(type='SlotMemory', num_slots=2, selector=dict(type='FIFOSelector'))


def other_models() -> dict[str, type]:
    """Models of mmdet whose trackers get no features of a track head."""
    found = {name: cls for name, cls in MODELS.module_dict.items() if isinstance(cls, type)}
    mot = {name: cls for name, cls in found.items() if issubclass(cls, BaseMOTModel)}
    vis = {'MaskTrackRCNN', 'Mask2FormerVideo', 'MinVIS', 'MemoryMaskPropagation'}
    return {name: cls for name, cls in mot.items() if name not in SERVED | vis | {'BaseMOTModel'}}


@pytest.mark.parametrize('name', sorted(other_models()))
def test_a_model_without_a_track_head_is_refused_by_name(name):
    model = other_models()[name].__new__(other_models()[name])
    torch.nn.Module.__init__(model)
    tracker = build(dict(type='MemoryTracker', memory=FIFO))
    found = InstanceData(bboxes=torch.zeros(1, 4), labels=torch.zeros(1).long(), scores=torch.ones(1))
    sample = DetDataSample(metainfo=dict(frame_id=0), pred_instances=found)
    with pytest.raises(TypeError, match=f'{name} hands its tracker no features of a track head.*QDTrack'):
        tracker.track(model=model, img=torch.zeros(1, 3, 8, 8), feats=None, data_sample=sample)
    with pytest.raises(TypeError, match='the model hands its tracker no features'):
        tracker.track(data_sample=sample)  # as ByteTrack and OC-SORT call it


def test_there_are_such_models():
    assert {'ByteTrack', 'DeepSORT', 'OCSORT', 'StrongSORT'} <= other_models().keys()


@pytest.mark.parametrize(
    'base, memory, error, message',
    [
        (BYTETRACK, FIFO, TypeError, 'ByteTrack hands its tracker no features of a track head'),
        (QDTRACK, None, ValueError, 'MemoryTracker has no memory: expected track_head='),
        (OURS, FIFO, ValueError, 'two memories'),
        (QDTRACK, FIFO, None, ''),
        (OURS, None, None, ''),
    ],
)
def test_a_tracker_that_does_not_fit_is_refused_before_anything_is_built(
    tmp_path, base, memory, error, message
):
    tracker = dict(_delete_=True, type='mmstremn.MemoryTracker', memory=memory)
    imports = dict(imports=['mmstremn.adapters.install_ops_stub', 'mmstremn.adapters.mmdet'])
    path = tmp_path / 'config.py'
    path.write_text(f'_base_ = {base!r}\ncustom_imports = {imports}\nmodel = dict(tracker={tracker})\n')
    with pytest.raises(error, match=message) if error else nullcontext():
        load_config(str(path))
