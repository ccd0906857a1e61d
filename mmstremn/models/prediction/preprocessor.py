"""From uint8 frames to what the predictor computes on."""

import torch
from mmengine.model import BaseDataPreprocessor

from mmstremn.registry import MODELS


@MODELS.register_module()
class PredictionDataPreprocessor(BaseDataPreprocessor):
    """Stacks clips, moves them and scales 0..255 to 0..1."""

    def forward(self, data: dict, training: bool = False) -> dict:
        """``inputs``, a list of (T, C, H, W) uint8, to one (B, T, C, H, W) float tensor.

        Raises:
            ValueError: Clips differ in size.
        """
        data = self.cast_data(data)
        clips = list(data['inputs'])
        for clip, sample in zip(clips, data['data_samples'], strict=True):
            if clip.shape != clips[0].shape:
                raise ValueError(
                    f"clip '{sample.clip_name}' is {tuple(clip.shape)} (T, C, H, W), but "
                    f"'{data['data_samples'][0].clip_name}' in the same batch is {tuple(clips[0].shape)}"
                )
        return data | dict(inputs=torch.stack(clips).float() / 255)
