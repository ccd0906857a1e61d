"""Pipeline steps of training clips: torchvision's transforms, for whole clips or frame by frame, and packing.

A step takes and returns ``results`` with ``frames`` (``tv_tensors.Video``, (T, 3, H, W) uint8) and ``masks``
(``tv_tensors.Mask``, (T, H, W) uint8 ids, 255 void).
"""

import difflib
import inspect

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from mmstremn.datasets.video import VOID
from mmstremn.registry import TRANSFORMS
from mmstremn.structures import VOSDataSample

MEAN_COLOUR = (124, 116, 104)
FILL = {tv_tensors.Video: MEAN_COLOUR, tv_tensors.Image: MEAN_COLOUR, tv_tensors.Mask: 0}


@TRANSFORMS.register_module()
class ClipTransform:
    """Any transform of ``torchvision.transforms.v2``, with one draw of its parameters for the clip or one per frame.

    Frames are interpolated bilinearly, masks by the nearest pixel. Where a transform leaves the picture, frames are
    filled with ImageNet's mean colour and masks with 0, so that what is invented is background and costs a loss.

    Args:
        name: The transform's name in torchvision, such as ``RandomResizedCrop``.
        per_frame: Draw the parameters for every frame on its own.
        p: How often it is applied (to the clip, or to a frame).
        **kwargs: The transform's own arguments; ``interpolation`` may be given by name (``'bilinear'``).

    Raises:
        ValueError: torchvision has no such transform.
    """

    def __init__(self, name: str, per_frame: bool = False, p: float = 1.0, **kwargs):
        transform = getattr(v2, name, None)
        if not (inspect.isclass(transform) and issubclass(transform, v2.Transform)):
            close = difflib.get_close_matches(name, dir(v2)) or ['RandomResizedCrop', 'RandomAffine', 'ColorJitter']
            raise ValueError(f"'{name}' is no transform of torchvision.transforms.v2; expected one like {close}")
        parameters = inspect.signature(transform).parameters
        defaults = dict(interpolation='bilinear', fill=FILL)
        kwargs = {key: value for key, value in defaults.items() if key in parameters} | kwargs
        if isinstance(kwargs.get('interpolation'), str):
            kwargs['interpolation'] = InterpolationMode(kwargs['interpolation'])
        self.transform = transform(**kwargs)
        self.per_frame = per_frame
        self.p = p

    def __call__(self, results: dict) -> dict:
        frames, masks = results['frames'], results['masks']
        if self.per_frame:
            pairs = zip(map(tv_tensors.Image, frames), map(tv_tensors.Mask, masks), strict=True)
            frames, masks = map(torch.stack, zip(*(self._apply(*pair) for pair in pairs), strict=True))
            frames, masks = tv_tensors.Video(frames), tv_tensors.Mask(masks)
        else:
            frames, masks = self._apply(frames, masks)
        return {**results, 'frames': frames, 'masks': masks}

    def _apply(self, frames: tv_tensors.TVTensor, masks: tv_tensors.Mask):
        if self.p < 1 and np.random.random() >= self.p:
            return frames, masks
        return self.transform(frames, masks)

    def __repr__(self) -> str:
        return f'ClipTransform({self.transform}, per_frame={self.per_frame}, p={self.p})'


@TRANSFORMS.register_module()
class PackClip:
    """The last step: chooses the clip's objects and packs it for the model.

    At most ``results['max_objects']`` objects are drawn at random from those that have ``results['min_object_area']``
    pixels in the first frame. They become 1..O in the order of their ids, other objects background; void stays 255.

    Returns:
        ``dict(inputs=(T, 3, H, W) uint8, data_samples=VOSDataSample with masks (T, H, W) uint8)``, or None where the
        first frame shows no object (the data set then draws again).
    """

    def __call__(self, results: dict) -> dict | None:
        masks = results['masks'].as_subclass(torch.Tensor)
        areas = torch.bincount(masks[0].flatten(), minlength=256)
        areas[[0, VOID]] = 0
        visible = areas.ge(max(1, results['min_object_area'])).nonzero().flatten().tolist()
        if not visible:
            return None
        chosen = sorted(np.random.permutation(visible)[: results['max_objects']].tolist())
        table = torch.zeros(256, dtype=torch.uint8)
        table[VOID] = VOID
        table[chosen] = torch.arange(1, len(chosen) + 1, dtype=torch.uint8)
        sample = VOSDataSample(
            metainfo=dict(
                video_name=results['video_name'],
                object_ids=chosen,
                frame_indices=list(results['frame_indices']),
                sample_seed=results['sample_seed'],
            )
        )
        sample.masks = table[masks.int()]
        return dict(inputs=results['frames'].as_subclass(torch.Tensor).contiguous(), data_samples=sample)
