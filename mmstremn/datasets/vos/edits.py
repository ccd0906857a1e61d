"""Edits of a clip after which objects are absent for a while, or somewhere else: cuts, occluders, erased
objects, other backgrounds.

A clip is ``frames`` (T, 3, H, W) uint8 and ``masks`` (T, H, W) uint8 ids (255 void). An edit changes the
frames of ``span`` in place; ``other`` is another clip of that size, of which the edited video knows no
object.
"""

from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmstremn.structures.video import VOID


class Clip(NamedTuple):
    """Frames and masks."""

    frames: Tensor
    masks: Tensor

    def part(self, span: slice) -> 'Clip':
        """The frames of ``span``; changes reach the clip."""
        return Clip(self.frames[span], self.masks[span])


def cut_away(clip: Clip, span: slice, other: Clip, rng: np.random.Generator) -> None:
    """A foreign scene: the frames of ``other``, in which no object of the clip is."""
    clip.frames[span] = other.frames[span]
    clip.masks[span] = 0


def hide(clip: Clip, span: slice, other: Clip, rng: np.random.Generator) -> None:
    """An occluder with the texture of ``other`` covers one object wholly."""
    part, foreign = clip.part(span), other.frames[span]
    number = _draw_object(clip, rng)
    for frame, mask, texture in zip(part.frames, part.masks, foreign, strict=True):
        cover = _dilated(mask == number, int(rng.integers(3, 15)))
        if rng.random() < 0.5:
            cover = _box(cover)
        frame[:, cover] = texture[:, cover]
        mask[cover] = 0


def erase(clip: Clip, span: slice, other: Clip, rng: np.random.Generator) -> None:
    """One object is gone and the scene goes on without it (inpainted: Telea, 2004); half the time an object
    of ``other`` has taken its place."""
    part, foreign = clip.part(span), other.part(span)
    number, replaced = _draw_object(clip, rng), rng.random() < 0.5
    for frame, mask, *stranger in zip(*part, *foreign, strict=True):
        hole = _dilated(mask == number, 4)
        if hole.any():
            frame.copy_(_inpainted(frame, hole))
        mask[mask == number] = 0
        if replaced:
            _paste_stranger(frame, mask, *stranger)


def transplant(clip: Clip, span: slice, other: Clip, rng: np.random.Generator) -> None:
    """The clip's objects, in front of the scene of ``other``: a new scene need not mean that they are
    gone."""
    part, foreign = clip.part(span), other.frames[span]
    background = (part.masks == 0).unsqueeze(1)
    part.frames.copy_(torch.where(background, foreign, part.frames))


EDITS = dict(cut_away=cut_away, hide=hide, erase=erase, transplant=transplant)


def _draw_object(clip: Clip, rng: np.random.Generator) -> int:
    ids = [number for number in clip.masks[0].unique().tolist() if number not in (0, VOID)]
    return int(rng.choice(ids))


def _dilated(region: Tensor, pixels: int) -> Tensor:
    """(H, W) bool, grown by ``pixels`` on each side."""
    return F.max_pool2d(region[None, None].float(), 2 * pixels + 1, 1, pixels)[0, 0] > 0


def _box(region: Tensor) -> Tensor:
    """The bounding box of an (H, W) bool region."""
    return region.any(0, keepdim=True) & region.any(1, keepdim=True)


def _inpainted(frame: Tensor, hole: Tensor) -> Tensor:
    """(3, H, W) uint8, filled where ``hole`` (H, W) is, from a quarter of the size (it is a blur anyway)."""
    height, width = hole.shape
    small = width // 4, height // 4
    image = cv2.resize(frame.permute(1, 2, 0).numpy(), small, interpolation=cv2.INTER_AREA)
    holes = cv2.dilate(cv2.resize(hole.numpy().astype(np.uint8), small), np.ones((3, 3), np.uint8))
    filled = cv2.resize(cv2.inpaint(image, holes, 3, cv2.INPAINT_TELEA), (width, height))
    return torch.where(hole, torch.from_numpy(filled).permute(2, 0, 1), frame)


def _paste_stranger(frame: Tensor, mask: Tensor, other_frame: Tensor, other_mask: Tensor) -> None:
    region = (other_mask > 0) & (other_mask != VOID)
    frame[:, region] = other_frame[:, region]
    mask[region] = 0
