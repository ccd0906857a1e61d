"""A tiny segmentor and small moving-square videos for the tests of the models."""

import numpy as np
import torch

from mmstremn.registry import MODELS
from mmstremn.structures import VOSDataSample
from mmstremn.structures.video import Video

BACKBONES = (
    'test_resnet',
    'test_convnext',
    'test_vit',
    'test_efficientnet',
)  # timm's tiniest of four families


def tiny_config(memory=None, backbone='test_resnet', **kwargs) -> dict:
    # Without zero_init_last=False the residual branches of a ResNet with frozen batch norm and random weights
    # are dead.
    more = dict(zero_init_last=False) if 'resnet' in backbone else {}
    backbone = dict(type='TimmBackbone', model_name=backbone, **more)
    return (
        dict(
            type='VOSegmentor',
            backbone=backbone,
            value_backbone=dict(backbone),
            memory=memory or dict(type='SlotMemory', num_slots=3),
            decoder=dict(type='MaskDecoder', channels=(16, 8, 8)),
            key_channels=8,
            value_channels=16,
        )
        | kwargs
    )


def tiny_model(memory=None, backbone='test_resnet', seed=0, **kwargs):
    """A random model whose predictions have structure: the decoder's output is scaled up."""
    torch.manual_seed(seed)
    model = MODELS.build(tiny_config(memory, backbone, **kwargs))
    with torch.no_grad():
        model.decoder.predict.weight.mul_(5)
    return model


class SquaresVideo(Video):
    """Squares moving over noise; object k of ``appear`` is there from its frame on.

    Args:
        appear: First frame of each object; their ids are 3, 6, 9, ...
        annotated_until: Frames from here on have no mask.
        void: A column of void pixels in every mask.
    """

    def __init__(self, num_frames=8, size=(40, 56), appear=(0,), seed=0, void=False):
        self.num_frames, self.size, self.appear, self.seed, self.void = num_frames, size, appear, seed, void
        self.name = f'squares{seed}'

    def frame(self, index):
        noise = np.random.default_rng((self.seed, index)).integers(0, 60, (*self.size, 3))
        background = np.random.default_rng((self.seed, 999)).integers(0, 100, (*self.size, 3))
        frame = (noise + background).astype(np.uint8)
        for place, box in self._boxes(index):
            frame[box] = 90 + 60 * np.eye(3, dtype=int)[place % 3] + noise[box] // 2
        return frame

    def mask(self, index):
        mask = np.zeros(self.size, np.uint8)
        for place, box in self._boxes(index):
            mask[box] = 3 * (place + 1)
        if self.void:
            mask[:, -1] = 255
        return mask

    def _boxes(self, index):
        for place, first in enumerate(self.appear):
            if index >= first:
                top, left = 4 + 13 * place, 3 + 2 * index + 5 * place
                yield place, (slice(top, top + 12), slice(left, left + 14))


def make_clip(seed, objects=1, length=4, size=(32, 48), **info):
    """One training item: a clip whose objects have ids 1..objects."""
    video = SquaresVideo(length, size, appear=(0,) * objects, seed=seed)
    frames = torch.from_numpy(np.stack([video.frame(i) for i in range(length)])).permute(0, 3, 1, 2)
    masks = torch.from_numpy(np.stack([video.mask(i) // 3 for i in range(length)]))
    info = dict(video_name=video.name, object_ids=list(range(3, 3 + objects)), sample_seed=100 + seed) | info
    sample = VOSDataSample(metainfo=info)
    sample.masks = masks
    return frames, sample


def make_batch(model, *clips):
    """What the model's ``forward`` gets: prepared inputs and samples."""
    data = dict(inputs=[frames for frames, _ in clips], data_samples=[sample for _, sample in clips])
    return model.data_preprocessor(data, training=True)


def make_sample(video):
    return VOSDataSample(metainfo=dict(video_name=video.name))
