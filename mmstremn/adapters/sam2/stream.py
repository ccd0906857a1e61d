"""Streams of trackers: points and boxes beside masks, frames at the tracker's own size."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmstremn.adapters.sam2.outputs import Features, Prompts
from mmstremn.models.rollout import advance
from mmstremn.models.segmentation.given_masks import impose
from mmstremn.models.segmentation.stream import VOSStream
from mmstremn.models.stream_files import describe_memory
from mmstremn.structures import GivenIds
from mmstremn.structures.prompts import GivenPrompts, read_prompts


class Sam2Stream(VOSStream):
    """A running video of a ``Sam2Segmentor``.

    Attributes:
        logits: (O, h, w) mask logits of the last frame as the tracker computed them, None before the first.
        iou: (O,) predicted.
        score: (O,) logits of presence.
    """

    logits: Tensor | None = None
    iou: Tensor | None = None
    score: Tensor | None = None

    @torch.no_grad()
    def probabilities(self, frame, masks=None, points=None, boxes=None, index: int | None = None) -> Tensor:
        """Segment the next frame, but give (1 + O, H, W) probabilities, see :meth:`VOSStream.probabilities`.

        They are the softmax of the objects' mask logits and of 0, that of the background.
        """
        self.check_index(index)
        frame = self._checked_frame(frame)
        name = f'of frame {self.index}'
        given = read_prompts(masks, points, boxes, tuple(frame.shape[:2]), self.object_ids, name)
        return self.advance(frame, given)

    @torch.no_grad()
    def advance(self, frame: Tensor, given: GivenPrompts | GivenIds | None) -> Tensor:
        """The probabilities of the next frame, which was checked."""
        if isinstance(given, GivenIds):
            given = GivenPrompts(given)
        size = self.size = frame.shape[0], frame.shape[1]
        new_ids = [] if given is None else [i for i in given.objects if i not in self.object_ids]
        object_ids = [*self.object_ids, *new_ids]
        if not object_ids:
            self.index += 1
            return torch.ones(1, *size, device=frame.device)
        features = self.model.encode_frame(self.model.prepare(frame))
        prompts = None if given is None else self._at_model_size(given, object_ids, features)
        began = self.index if self.state is None else self.began
        new = 0 if self.state is None else len(new_ids)
        output, self.state = advance(self.model, self.state, features, prompts, new, seeds=(self.seed,))
        self.object_ids, self.began, self.index = object_ids, began, self.index + 1
        best = output.split(self.model.memory.num_pathways)[0]
        self.logits, self.iou, self.score = best.low, best.iou, best.score
        logits = F.interpolate(best.low[None].float(), size, mode='bilinear', align_corners=False)
        probabilities = F.pad(logits, (0, 0, 0, 0, 1, 0)).softmax(1)[0]
        final = None if given is None else given.final_masks
        return probabilities if final is None else impose(probabilities, final, object_ids)

    def kind(self) -> dict:
        """What a file must agree on with the model that goes on with it."""
        tracker = self.model.tracker
        return dict(
            memory=type(self.model.memory).__name__,
            tracker=type(tracker).__name__,
            image_size=tracker.image_size,
            hidden_dim=tracker.hidden_dim,
            mem_dim=tracker.mem_dim,
            options=describe_memory(self.model.memory),
        )

    def _at_model_size(self, given: GivenPrompts, object_ids: list[int], features: Features) -> Prompts:
        """The prompts at the size at which the model computes."""
        assert self.size is not None
        side, device = self.model.image_size, features.query.key.device
        masks = {}
        if given.masks is not None:
            ids = torch.as_tensor(given.masks.ids, device=device)[None, None]
            for number in given.masks.objects:
                masks[object_ids.index(number)] = _mask_at(ids == number, side)
        scale = side / torch.tensor(self.size[::-1])
        points = {}
        for number, rows in given.points.items():
            found = torch.as_tensor(rows, dtype=torch.float32)[None, None]
            coordinates, labels = found[..., :2] * scale, found[..., 2].int()
            points[object_ids.index(number)] = coordinates.to(device), labels.to(device)
        return Prompts(features, len(object_ids), masks, points)


def _mask_at(mask: Tensor, side: int) -> Tensor:
    """A mask (1, 1, H, W) bool as floats of 0 and 1 (1, 1, side, side), as transformers resizes it."""
    mask = mask.float()
    if mask.shape[-2:] == (side, side):
        return mask
    larger = F.interpolate(mask, (side, side), mode='bilinear', align_corners=False, antialias=True)
    return (larger >= 0.5).float()
