"""The configs of video prediction at sizes that take seconds."""

from pathlib import Path

import torch
from mmengine.config import Config

from helpers.runs import ROOT
from mmstremn.registry import MODELS

PREDICTION = ROOT / 'configs/prediction'
DIGITS = PREDICTION / 'stremn_moving_digits.py'
SIZE, OBSERVED, LATER = 16, 3, 2


def tiny_digits(folder: Path) -> Path:
    """The config of STReMN on Moving Digits with 16 pixels, 3 + 2 frames and little of everything, as a
    file."""
    cfg = Config.fromfile(DIGITS)
    cfg.model.update(key_channels=4, value_channels=8)
    cfg.model.backbone.widths = (4, 4)
    for part, clips in (('train', None), ('val', 2), ('test', 3)):
        loader = cfg[f'{part}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset.update(size=SIZE, input_frames=OBSERVED, output_frames=LATER, max_clips=clips)
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.param_scheduler[0].total_steps = 2
    path = folder / 'tiny_digits.py'
    cfg.dump(str(path))
    return path


def tiny_predictor(memory: dict, seed: int = 0, **kwargs):
    """A random predictor of grey frames, in evaluation mode."""
    torch.manual_seed(seed)
    config = dict(
        type='VideoPredictor',
        backbone=dict(type='ConvBackbone', widths=(4, 8)),
        memory=memory,
        key_channels=6,
        value_channels=8,
    )
    return MODELS.build(config | kwargs).eval()
