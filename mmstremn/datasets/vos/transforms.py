"""Pipeline steps of training clips: torchvision's transforms, for whole clips or frame by frame, and packing.

A step takes and returns ``results`` with ``frames`` (``tv_tensors.Video``, (T, 3, H, W) uint8) and ``masks``
(``tv_tensors.Mask``, (T, H, W) uint8 ids, 255 void).
"""

import difflib
import inspect
import logging
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from scipy.interpolate import RBFInterpolator
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from mmstremn.registry import TRANSFORMS, check_names
from mmstremn.structures import VOSDataSample
from mmstremn.structures.video import VOID

MEAN_COLOUR = (124, 116, 104)
FILL = {tv_tensors.Video: MEAN_COLOUR, tv_tensors.Image: MEAN_COLOUR, tv_tensors.Mask: 0}


@TRANSFORMS.register_module()
class ClipTransform:
    """Any transform of ``torchvision.transforms.v2``, with one draw of its parameters for the clip or one per
    frame.

    Frames are interpolated bilinearly, masks by the nearest pixel. Where a transform leaves the picture,
    frames are filled with ImageNet's mean colour and masks with 0, so that what is invented is background and
    costs a loss.

    Args:
        name: The transform's name in torchvision, such as ``RandomResizedCrop``.
        per_frame: Draw the parameters for every frame on its own.
        p: How often it is applied (to the clip, or to a frame). A transform with a ``p`` of its own, such as
            ``RandomHorizontalFlip``, draws again with torchvision's default.
        **kwargs: The transform's own arguments; ``interpolation`` may be given by name (``'bilinear'``).

    Raises:
        ValueError: torchvision has no such transform, or ``p`` is not in 0..1.
        TypeError: The transform has no such argument.
    """

    def __init__(self, name: str, per_frame: bool = False, p: float = 1.0, **kwargs: Any):
        transform = getattr(v2, name, None)
        if not (inspect.isclass(transform) and issubclass(transform, v2.Transform)):
            close = difflib.get_close_matches(name, dir(v2)) or [
                'RandomResizedCrop',
                'RandomAffine',
                'ColorJitter',
            ]
            raise ValueError(
                f"'{name}' is no transform of torchvision.transforms.v2; expected one like {close}"
            )
        parameters = inspect.signature(transform).parameters
        check_names(f'ClipTransform({name})', kwargs, [*parameters, 'per_frame', 'p'])
        if not 0 <= p <= 1:
            raise ValueError(f'ClipTransform({name}).p: expected a probability in 0..1, got {p}')
        if 'p' in parameters and p < 1:
            own = parameters['p'].default
            print_log(
                f'ClipTransform({name}): drawn with p={p}, then by itself with p={own}: {p * own:g} in all',
                'current',
                logging.WARNING,
            )
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
class ThinPlateWarp:
    """Bends each frame and its mask like a thin plate whose control points are moved at random.

    The deformation of Perazzi et al., Learning Video Object Segmentation from Static Images (MaskTrack), CVPR
    2017, section 3.2; thin-plate splines are scipy's. The spline is evaluated on a coarse grid and
    interpolated between. What lies outside the picture is filled as by ``ClipTransform``.

    Args:
        scale: Standard deviation of a control point's shift, as a share of the picture's height and width.
        points: Control points along each side.
        p: How often a frame is bent.
    """

    GRID = 33

    def __init__(self, scale: float = 0.02, points: int = 4, p: float = 0.33):
        if points < 2:
            raise ValueError(f'ThinPlateWarp.points must be at least 2, got {points}')
        self.scale, self.points, self.p = scale, points, p

    def __call__(self, results: dict) -> dict:
        frames, masks = results['frames'].clone(), results['masks'].clone()
        for frame, mask in zip(frames, masks, strict=True):
            if np.random.random() < self.p:
                where = self._draw_map(mask.shape)
                bent = cv2.remap(
                    np.ascontiguousarray(frame.permute(1, 2, 0).numpy()),
                    *where,
                    cv2.INTER_LINEAR,
                    borderValue=MEAN_COLOUR,
                )
                frame.copy_(torch.from_numpy(bent).permute(2, 0, 1))
                mask.copy_(
                    torch.from_numpy(cv2.remap(mask.numpy(), *where, cv2.INTER_NEAREST, borderValue=0))
                )
        return {**results, 'frames': frames, 'masks': masks}

    def _draw_map(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """For each pixel the column and the row, (H, W) float32 each, from which it is taken."""
        controls, grid = (_unit_grid(number) for number in (self.points, self.GRID))
        moved = controls + np.random.normal(0, self.scale, controls.shape)
        spline = RBFInterpolator(controls, moved, kernel='thin_plate_spline')
        coarse = torch.from_numpy(spline(grid).T.reshape(1, 2, self.GRID, self.GRID).astype(np.float32))
        rows, columns = F.interpolate(coarse, size, mode='bilinear', align_corners=True)[0].numpy()
        return columns * (size[1] - 1), rows * (size[0] - 1)

    def __repr__(self) -> str:
        return f'ThinPlateWarp(scale={self.scale}, points={self.points}, p={self.p})'


def _unit_grid(number: int) -> np.ndarray:
    """(number ** 2, 2) rows and columns, 0..1, the last axis running first."""
    ticks = np.linspace(0, 1, number)
    return np.stack(np.meshgrid(ticks, ticks, indexing='ij'), -1).reshape(-1, 2)


@TRANSFORMS.register_module()
class PackClip:
    """The last step: chooses the clip's objects and packs it for the model.

    At most ``results['max_objects']`` objects are drawn at random from those that have
    ``results['min_object_area']`` pixels in the first frame. They become 1..O in the order of their ids,
    other objects background; void stays 255. In frames before an object of the clip is labelled for the first
    time (``results['first_frames']``: id to frame index) background becomes void, since the object may be
    there.

    Returns:
        ``dict(inputs=(T, 3, H, W) uint8, data_samples=VOSDataSample with masks (T, H, W) uint8)``, or None
        where the first frame shows no object (the data set then draws again).
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
        labelled_from = max(results.get('first_frames', {}).get(k, 0) for k in chosen)
        for mask, index in zip(sample.masks, results['frame_indices'], strict=True):
            if index < labelled_from:
                mask[mask == 0] = VOID
        return dict(inputs=results['frames'].as_subclass(torch.Tensor).contiguous(), data_samples=sample)
