"""A model and a data set that take milliseconds, for tests of the engine: both use every random number
generator."""

import random

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import nn
from torch.nn import functional as F

from mmstremn.registry import DATASETS, MODELS
from mmstremn.structures import VOSDataSample
from mmstremn.structures.video import Video
from mmstremn.utils.palette import encode_palette_png

SIZE = 8


class TinyVideo(Video):
    """A bright square on noise."""

    def __init__(self, seed: int, num_frames: int = 3):
        self.seed, self.num_frames = seed, num_frames
        self.name, self.size = f'video{seed}', (SIZE, SIZE)

    def frame(self, index):
        frame = np.random.default_rng((self.seed, index)).integers(0, 80, (SIZE, SIZE, 3), dtype=np.uint8)
        return frame + 120 * self.mask(index)[..., None]

    def mask(self, index):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[self.seed % 4 : self.seed % 4 + 4, index : index + 4] = 1
        return mask


@DATASETS.register_module()
class TinyDataset(torch.utils.data.Dataset):
    def __init__(self, length: int = 5, test_mode: bool = False):
        self.length, self.test_mode = length, test_mode
        self.metainfo = {}

    def __len__(self):
        return self.length

    def __getitem__(self, request):
        if self.test_mode:
            video = TinyVideo(request)
            return dict(inputs=video, data_samples=VOSDataSample(metainfo=dict(video_name=video.name)))
        video = TinyVideo(request.index)
        noise = np.random.default_rng(request.seed).integers(0, 40, (3, SIZE, SIZE), dtype=np.uint8)
        frames = np.stack([video.frame(i).transpose(2, 0, 1) + noise for i in range(video.num_frames)])
        masks = torch.from_numpy(np.stack([video.mask(i) for i in range(video.num_frames)]))
        info = dict(video_name=video.name, sample_seed=request.seed)
        return dict(inputs=torch.from_numpy(frames), data_samples=VOSDataSample(metainfo=info, masks=masks))


@MODELS.register_module()
class TinySegmentor(BaseModel):
    """Args: dropout: Its noise, and a little noise of python's and numpy's generators, make random states
    matter."""

    def __init__(self, dropout: float = 0.3, width: int = 4):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.head = nn.Conv2d(width, 2, 1)
        self.dropout = dropout

    def forward(self, inputs, data_samples, mode):
        return self.loss(inputs, data_samples) if mode == 'loss' else self.predict(inputs, data_samples)

    def logits(self, frames):
        features = F.dropout(F.relu(self.conv(frames.float() / 60 - 2)), self.dropout, self.training)
        return self.head(features)

    def loss(self, inputs, data_samples):
        losses = []
        for frames, sample in zip(inputs, data_samples, strict=True):
            noise = 1 + self.dropout * (random.random() + np.random.rand())
            losses.append(noise * F.cross_entropy(self.logits(frames), sample.masks.long()))
        return dict(loss=torch.stack(losses).mean())

    @torch.no_grad()
    def predict(self, inputs, data_samples):
        torch.rand(1)  # a prediction that draws must not change training
        for video, sample in zip(inputs, data_samples, strict=True):
            frames = torch.stack(
                [torch.from_numpy(video.frame(i)).permute(2, 0, 1) for i in range(video.num_frames)]
            )
            ids = self.logits(frames).argmax(1).to(torch.uint8).numpy()
            sample.pred_masks = [encode_palette_png(i) for i in ids]
            sample.set_metainfo(dict(slot_timeline=np.tril(np.ones((video.num_frames, 2), int)) - 1))
        return data_samples
