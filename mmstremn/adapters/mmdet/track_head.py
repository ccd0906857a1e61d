"""A track head of mmdet with a memory: what the memory of a tracker learns, it learns here."""

import torch
import torch.nn.functional as F
from mmdet.models.tracking_heads import RoITrackHead
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures.bbox import get_box_tensor
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from torch import Tensor

from mmstremn.adapters.mmdet.appearance import AppearanceMemory
from mmstremn.adapters.mmdet.mmdet_heads import embed, embedding_channels
from mmstremn.memory import SlotState
from mmstremn.models.rollout import finish_clip
from mmstremn.registry import MODELS

SHIFT = 0.5  # largest shift of a jittered box, in shares of its sides
STRETCH = 0.4  # largest logarithm of the factor by which its sides are stretched


@MODELS.register_module()
class MemoryTrackHead(BaseModule):
    """An mmdet track head, unchanged, and an :class:`AppearanceMemory` that :class:`MemoryTracker` uses.

    mmdet's ``loss`` never calls a tracker, and a tracker's weights would be neither trained nor saved; so the
    memory is trained here. Its models give one key and one reference frame. Each object of the reference
    frame is written ``views`` times: its own box, then boxes that are shifted and stretched more or less, as
    those of half hidden objects are. Then the key frame's objects read the tracks, and a softmax over them
    (and, as in MaskTrack R-CNN, a new track of similarity 0) must name the right one. With fewer
    ``train_slots`` than views a learned selector must choose which views to keep.

    Checkpoints of the wrapped head load as they are; what the memory learns starts as the identity.

    Args:
        head: Config of an mmdet RoITrackHead or QuasiDenseTrackHead.
        memory: Config of a SlotMemory; its widths are filled in. By default 5 slots (2 in training) and the
            learned selector.
        views: Observations of each object that the memory is offered in training.
        loss_weight: Of ``loss_memory``.
        init_cfg: As in mmengine.

    Raises:
        TypeError: The head gives no embedding per box.
    """

    def __init__(
        self,
        head: dict,
        memory: dict | None = None,
        views: int = 6,
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if views < 1:
            raise ValueError(f'MemoryTrackHead.views must be at least 1, got {views}')
        self.views, self.loss_weight = views, loss_weight
        self.head = MMDET_MODELS.build(ConfigDict(head))  # mmdet reads its attributes
        memory = memory or dict(type='SlotMemory', num_slots=5, train_slots=2)
        self.memory = AppearanceMemory(embedding_channels(self.head), memory, projected=True)
        self.register_load_state_dict_pre_hook(_find_unwrapped)

    def loss(self, key_features: list[Tensor], reference_features: list[Tensor], *others, **kwargs) -> dict:
        """The wrapped head's losses and ``loss_memory``; the arguments are the wrapped head's, data samples
        last."""
        losses = self.head.loss(key_features, reference_features, *others, **kwargs)
        loss, penalty = self.memory_loss(key_features, reference_features, others[-1])
        return losses | dict(loss_memory=self.loss_weight * loss) | penalty

    def extract_roi_feats(self, *args, **kwargs):
        """The wrapped head's: mmdet's own trackers work with this head too, without the memory."""
        return self.head.extract_roi_feats(*args, **kwargs)

    def predict(self, *args, **kwargs):
        """The wrapped head's."""
        return self.head.predict(*args, **kwargs)

    def memory_loss(
        self, key_features: list[Tensor], reference_features: list[Tensor], data_samples: list
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross entropy of the key frame's objects over the tracks of the reference frame, averaged over the
        images, and what the memory adds, averaged over the images with tracks.

        Args:
            key_features: Maps (B, C', H / s, W / s).
            reference_features: The same of the reference frames.
            data_samples: B TrackDataSamples with ``gt_instances``.
        """
        keys = [sample.get_key_frames()[0].gt_instances for sample in data_samples]
        references = [sample.get_ref_frames()[0].gt_instances for sample in data_samples]
        key_embeddings = embed(self.head, key_features, [get_box_tensor(key.bboxes) for key in keys])
        boxes = [jittered(get_box_tensor(one.bboxes), self.views) for one in references]
        views = embed(self.head, reference_features, [box.flatten(0, 1) for box in boxes])
        losses, penalties = [], []
        for key, view, one, other in zip(key_embeddings, views, keys, references, strict=True):
            view = view.unflatten(0, (self.views, -1))
            targets = targets_of(one.instances_ids, other.instances_ids)
            if not view.shape[1]:
                losses.append(key.sum() * 0)
                continue
            state = self._rehearse(view)
            losses.append(self._image_loss(key, state, targets))
            penalties.append(finish_clip(self.memory, state, self.views))
        unused = sum(
            parameter.sum() for parameter in self.memory.parameters()
        )  # ranks without objects must agree in DDP
        penalty = {
            name: sum(one[name] for one in penalties) / len(penalties) for name in (penalties or [{}])[0]
        }
        return sum(losses) / len(losses) + 0 * unused, penalty

    def _image_loss(self, embeddings: Tensor, state: SlotState, targets: Tensor) -> Tensor:
        """The loss of detections (D, C) on the tracks of a state, of which ``targets`` (D,) are right."""
        logits = self.memory.similarity(embeddings, state)
        if isinstance(self.head, RoITrackHead):
            logits, targets = F.pad(logits, (1, 0)), targets + 1
        known = targets >= 0
        return F.cross_entropy(logits[known], targets[known]) if known.any() else logits.sum() * 0

    def _rehearse(self, views: Tensor) -> SlotState:
        """The state of N tracks that were observed V times; ``views`` is (V, N, C)."""
        state = self.memory.begin(views[0], clip_length=len(views) + 1)
        for view in views[1:]:
            state = self.memory.observe(state, view)
        return state


def targets_of(ids: Tensor, known: Tensor) -> Tensor:
    """For each of D ids its place among N known ones, or -1: (D,) and (N,) to (D,)."""
    equal = ids[:, None] == known
    if not len(known):
        return torch.full_like(ids, -1)
    return torch.where(equal.any(1), equal.int().argmax(1), -1)


def jittered(boxes: Tensor, views: int) -> Tensor:
    """Boxes (N, 4) as (V, N, 4): as they are, then shifted and stretched, each by its own strength."""
    shape = (views - 1, len(boxes))
    strength = boxes.new_empty(*shape, 1).uniform_(0, 1)
    centre, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    shift = SHIFT * strength * boxes.new_empty(*shape, 2).uniform_(-1, 1)
    stretch = (STRETCH * strength * boxes.new_empty(*shape, 2).uniform_(-1, 1)).exp()
    centre, sides = centre + shift * sides, sides * stretch
    return torch.cat([boxes[None], torch.cat([centre - sides / 2, centre + sides / 2], -1)])


def _find_unwrapped(module: MemoryTrackHead, state_dict: dict, prefix: str, *others) -> None:
    """Give the weights of a head that was saved without a memory the names that they have here."""
    own = tuple(f'{prefix}{name}.' for name in ('head', 'memory'))
    for key in [key for key in state_dict if key.startswith(prefix) and not key.startswith(own)]:
        state_dict[f'{prefix}head.{key.removeprefix(prefix)}'] = state_dict.pop(key)
