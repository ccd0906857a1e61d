"""From image features to the masks of objects: prompt encoder and mask decoder of a tracker.

The rules are those of transformers' ``Sam2VideoModel`` (``_single_frame_forward`` and
``_use_mask_as_output``), for several objects at once.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mmstremn.adapters.sam2.distractors import least_overlap
from mmstremn.adapters.sam2.outputs import Features, Masks

ABSENT = -1024.0  # mask logits of an object that is not in the frame
GIVEN_SCALE, GIVEN_BIAS = 20.0, -10.0  # logits of a given mask of 0 and 1


def as_map(flat: Tensor, grid: tuple[int, int]) -> Tensor:
    """(N, h * w, C) to (N, C, h, w)."""
    return flat.transpose(1, 2).unflatten(2, tuple(grid))


def given_logits(mask: Tensor) -> Tensor:
    """Logits of a given mask of 0 and 1."""
    return mask * GIVEN_SCALE + GIVEN_BIAS


def resized(masks: Tensor, size: tuple[int, int], antialias: bool = True) -> Tensor:
    """Masks (N, 1, H, W) at another size, computed in float32."""
    if masks.shape[-2:] == tuple(size):
        return masks
    larger = F.interpolate(masks.float(), size, mode='bilinear', align_corners=False, antialias=antialias)
    return larger.to(masks.dtype)


Choice = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Takes masks (n, M, h, w), predicted IoU (n, M) and logits of presence (n,); gives rows
(m,) and the mask taken of each."""


class MaskHead:
    """Decodes masks with the modules of a tracker.

    Args:
        tracker: Of transformers.
        compares: Compare the mask that is taken with the others.
    """

    def __init__(self, tracker, compares: bool = False):
        self.tracker, self.compares = tracker, compares

    def track(self, conditioned: Tensor, features: Features, choose: Choice | None = None) -> Masks:
        """Masks of n objects without a prompt.

        Args:
            conditioned: (n, P, C) image features into which each object's memory was read.
            features: Of the frame.
            choose: See :data:`Choice`; None: the mask of each object with the greatest predicted IoU.
        """
        maps = as_map(conditioned, features.grid)
        return self._decode(maps, features, None, self._multimask(0, prompted=False), choose=choose)

    def from_points(
        self, coordinates: Tensor, labels: Tensor, features: Features, base: Tensor | None = None
    ) -> Masks:
        """The mask of one object from points: no memory is read, as in SAM 2.

        Args:
            coordinates: (1, 1, N, 2) in pixels of the size at which the model computes.
            labels: (1, 1, N).
            features: Of the frame.
            base: A mask (1, 1, S, S) of 0 and 1 that the points refine. As in SAM 2's demo the prompt encoder
                is given its logits beside the points; those of a given mask, as in :meth:`from_mask`.
        """
        fresh = features.query.key + self.tracker.no_memory_embedding
        multimask = self._multimask(labels.shape[-1], prompted=True)
        prompt = None if base is None else self._low_logits(base.to(fresh.dtype))
        return self._decode(as_map(fresh, features.grid), features, (coordinates, labels), multimask, prompt)

    def from_mask(self, mask: Tensor, features: Features) -> Masks:
        """A given mask (1, 1, S, S) of 0 and 1 as it is, with the pointer that the decoder makes of it."""
        mask = mask.to(self.tracker.no_memory_embedding.dtype)
        size = self.tracker.prompt_encoder.mask_input_size
        prompt = resized(self.tracker.mask_downsample(mask), size)
        maps = as_map(features.query.key, features.grid)
        pointer = self._decode(maps, features, None, True, prompt).pointer
        there = mask.flatten(1).any(1)
        return Masks(
            low=self._low_logits(mask)[:, 0],
            iou=torch.ones_like(mask[:, 0, 0, 0]),
            score=given_logits(there.to(mask.dtype)),
            pointer=torch.where(there[:, None], pointer, self.tracker.no_object_pointer),
            overlap=torch.ones_like(mask[:, 0, 0, 0]),
        )

    def _low_logits(self, mask: Tensor) -> Tensor:
        """(1, 1, h, w): logits of a given mask at the size of those that are decoded."""
        return resized(given_logits(mask), self.tracker.prompt_encoder.mask_input_size)

    def _multimask(self, points: int, prompted: bool) -> bool:
        """Whether the best of several masks is taken."""
        config = self.tracker.config
        allowed = config.multimask_output_in_sam and (prompted or config.multimask_output_for_tracking)
        return allowed and config.multimask_min_pt_num <= points <= config.multimask_max_pt_num

    def _decode(
        self,
        maps: Tensor,
        features: Features,
        points: tuple[Tensor, Tensor] | None,
        multimask: bool,
        prompt: Tensor | None = None,
        choose: Choice | None = None,
    ) -> Masks:
        """Decode n objects from (n, C, h, w) maps."""
        number = len(maps)
        if points is None:
            points = maps.new_zeros(number, 1, 1, 2), torch.full((number, 1, 1), -1, device=maps.device)
        sparse, dense = self.tracker.prompt_encoder(*points, input_boxes=None, input_masks=prompt)
        masks, iou, tokens, score = self.tracker.mask_decoder(
            image_embeddings=maps,
            image_positional_embeddings=self.tracker.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            high_resolution_features=features.maps,
        )
        masks, iou, tokens, score = masks[:, 0], iou[:, 0], tokens[:, 0], score[:, 0]  # (n, M, ...), (n, 1)
        if choose is None:
            rows, best = torch.arange(number, device=maps.device), iou.argmax(-1)
        else:
            rows, best = choose(torch.where((score > 0)[..., None, None], masks, ABSENT), iou, score[:, 0])
        score = score[rows]
        appears = score > 0
        pointer = self.tracker.object_pointer_proj(tokens[rows, best if tokens.shape[1] > 1 else 0])
        return Masks(
            low=torch.where(appears[..., None], masks[rows, best], ABSENT),
            iou=iou[rows, best],
            score=score[:, 0],
            pointer=torch.where(appears, pointer, self.tracker.no_object_pointer),
            overlap=self._overlap(masks[rows], best),
        )

    def _overlap(self, masks: Tensor, best: Tensor) -> Tensor:
        """(n,) as in :class:`Masks`, of M masks each (n, M, h, w) of which ``best`` (n,) is taken."""
        if not self.compares:
            return masks.new_ones(len(masks))
        shown = (masks > 0).cpu().numpy()
        return masks.new_tensor([least_overlap(own, int(k)) for own, k in zip(shown, best, strict=True)])
