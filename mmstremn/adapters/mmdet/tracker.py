"""A tracker for mmdet whose tracks remember several appearances."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from mmdet.models.trackers import BaseTracker
from mmdet.models.tracking_heads import RoITrackHead
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmstremn.adapters.mmdet.appearance import AppearanceMemory, one_by_one, side_by_side
from mmstremn.adapters.mmdet.matchers import IGNORED, NEW, BiSoftmaxMatcher, SoftmaxMatcher
from mmstremn.adapters.mmdet.mmdet_heads import embed, embedding_channels
from mmstremn.adapters.mmdet.track_head import MemoryTrackHead
from mmstremn.adapters.mmdet.video_order import VideoOrder
from mmstremn.memory import SlotState
from mmstremn.registry import MODELS, build


@dataclass
class Track:
    """One object.

    Attributes:
        state: Of its appearances.
        box: (4,), the last one.
        label: (), the last one.
        frame: When it was last seen.
    """

    state: SlotState
    box: Tensor
    label: Tensor
    frame: int


@MODELS.register_module()
class MemoryTracker(BaseTracker):
    """Tracks that keep a fixed number of appearances, in place of MaskTrackRCNNTracker (the last) and
    QuasiDenseTracker (a moving average); so an object that comes back in an earlier look is known again.

    The memory is that of the model's :class:`MemoryTrackHead`, which trains it, or one without weights given
    here, which works with any trained model. Only what is matched writes to it.

    Args:
        matcher: Config of a matcher; by default the rule of the tracker that belongs to the model's track
            head.
        memory: Config of a SlotMemory whose selector has no weights. None: the track head's.
        num_frames_retain: A track that was not seen for so many frames is forgotten.
    """

    def __init__(self, matcher: dict | None = None, memory: dict | None = None, num_frames_retain: int = 30):
        if num_frames_retain < 1:
            raise ValueError(f'num_frames_retain must be at least 1, got {num_frames_retain}')
        self.matcher = build(matcher)
        super().__init__(num_frames_retain=num_frames_retain)
        self._memory_config, self._memory = memory, None
        self._order = VideoOrder()

    @staticmethod
    def check_model(model: Mapping) -> None:
        """Check the config of a model with this tracker before it is built; the tools call it.

        Args:
            model: With ``tracker`` and ``track_head``.

        Raises:
            TypeError: The model has no track head.
            ValueError: Not one memory but none or two.
        """
        head, memory = model.get('track_head'), model['tracker'].get('memory')
        if head is None:
            raise TypeError(_without_features(str(model.get('type'))))
        _check_one_memory(str(head.get('type')).endswith('MemoryTrackHead'), memory is not None)

    def reset(self) -> None:
        """Forget all tracks."""
        super().reset()
        if self.matcher is not None:
            self.matcher.reset()

    @torch.no_grad()
    def track(
        self,
        model: nn.Module | None = None,
        feats: list[Tensor] | None = None,
        data_sample=None,
        img: Tensor | None = None,
        rescale: bool = True,
        **kwargs,
    ) -> InstanceData:
        """The detections of a frame with their identities; the calls of both MaskTrackRCNN and QDTrack fit.

        Args:
            model: With a ``track_head``.
            feats: Maps (1, C', H / s, W / s) of the frame.
            data_sample: A DetDataSample with ``pred_instances`` and the frame's metainfo.
            img: Not used.
            rescale: Boxes are in pixels of the original frame.

        Returns:
            The detections that belong to a track, with ``instances_id`` (D,); masks stay with them.

        Raises:
            TypeError: The model has no track head or hands no features over (SORT, DeepSORT, StrongSORT,
                ByteTrack, OC-SORT).
            ValueError: Frames out of order or of another size (see :class:`VideoOrder`), or not one memory
                but none or two.
        """
        if feats is None or not hasattr(model, 'track_head'):
            raise TypeError(_without_features(type(model).__name__ if model is not None else 'the model'))
        if self._order.begins(data_sample.metainfo):
            self.reset()
        frame, found = data_sample.metainfo['frame_id'], data_sample.pred_instances
        if len(found):
            memory, matcher = self._parts(model.track_head)
            found = found[matcher.candidates(found)]
            embeddings = self._embed(model.track_head, feats, found.bboxes, data_sample.metainfo, rescale)
            found, embeddings = self._identify(memory, matcher, found, embeddings)
            self._remember(memory, found, embeddings, frame)
        else:
            found = found.clone()
            found.instances_id = torch.zeros_like(found.labels)
        self._forget(frame)
        return found

    def _parts(self, head: nn.Module) -> tuple[AppearanceMemory, SoftmaxMatcher | BiSoftmaxMatcher]:
        """The memory and the matcher, made when the model's head is first seen."""
        inner = head.head if isinstance(head, MemoryTrackHead) else head
        if self.matcher is None:
            self.matcher = SoftmaxMatcher() if isinstance(inner, RoITrackHead) else BiSoftmaxMatcher()
        if self._memory is None:
            self._memory = self._find_memory(head)
        return self._memory, self.matcher

    def _find_memory(self, head: nn.Module) -> AppearanceMemory:
        _check_one_memory(isinstance(head, MemoryTrackHead), self._memory_config is not None)
        if isinstance(head, MemoryTrackHead):
            return head.memory
        memory = AppearanceMemory(embedding_channels(head), self._memory_config, projected=False).eval()
        if learned := [name for name, _ in memory.named_parameters()]:
            raise ValueError(
                'the memory of a MemoryTracker is neither trained nor saved, but has weights '
                f'({learned[0]}, ...): give it '
                'to a MemoryTrackHead'
            )
        return memory

    def _embed(
        self, head: nn.Module, feats: list[Tensor], boxes: Tensor, metainfo: dict, rescale: bool
    ) -> Tensor:
        if rescale:
            boxes = boxes * boxes.new_tensor(metainfo['scale_factor']).repeat(2)
        return embed(head.head if isinstance(head, MemoryTrackHead) else head, feats, [boxes])[0]

    def _identify(
        self, memory: AppearanceMemory, matcher, found: InstanceData, embeddings: Tensor
    ) -> tuple[InstanceData, Tensor]:
        """The detections (and their embeddings) that belong to a track, with ``instances_id``."""
        tracks, device = list(self.tracks.values()), embeddings.device
        if tracks:
            similarity = memory.similarity(embeddings, side_by_side([track.state for track in tracks]))
            boxes, labels = (
                torch.stack([getattr(track, name) for track in tracks]) for name in ('box', 'label')
            )
        else:
            similarity, boxes, labels = (
                embeddings.new_zeros(len(found), 0),
                found.bboxes[:0],
                found.labels[:0],
            )
        taken = matcher.match(similarity, embeddings, found, boxes, labels)
        ids = torch.tensor([*self.ids, NEW], device=device)[
            taken.clamp(min=NEW)
        ]  # NEW is the last of the list
        new = taken == NEW
        ids[new] = torch.arange(self.num_tracks, self.num_tracks + int(new.sum()), device=device)
        self.num_tracks += int(new.sum())
        kept = taken != IGNORED
        found = found[kept]
        found.instances_id = ids[kept]
        return found, embeddings[kept]

    def _remember(
        self, memory: AppearanceMemory, found: InstanceData, embeddings: Tensor, frame: int
    ) -> None:
        """What was found joins its track; tracks that have seen equally many observations do so in one
        call."""
        numbers, clocks = found.instances_id.tolist(), defaultdict(list)
        for index, number in enumerate(numbers):
            clocks[self.tracks[number].state.step if number in self.tracks else 0].append(index)
        for clock, members in clocks.items():
            some = embeddings[members]
            if clock == 0:
                state = memory.begin(some, seeds=tuple(numbers[index] for index in members))
            else:
                state = memory.observe(
                    side_by_side([self.tracks[numbers[index]].state for index in members]), some
                )
            for index, own in zip(members, one_by_one(state), strict=True):
                self.tracks[numbers[index]] = Track(own, found.bboxes[index], found.labels[index], frame)

    def _forget(self, frame: int) -> None:
        self.tracks = {
            number: track
            for number, track in self.tracks.items()
            if frame - track.frame < self.num_frames_retain
        }


def _without_features(model: str) -> str:
    return (
        f'{model} hands its tracker no features of a track head, from which a MemoryTracker takes what it '
        'remembers: expected MaskTrackRCNN or QDTrack with a track_head. SORT, DeepSORT, StrongSORT, '
        'ByteTrack and OC-SORT keep the trackers of mmdet'
    )


def _check_one_memory(of_head: bool, of_tracker: bool) -> None:
    """Raises a ValueError unless either the model's track head or the tracker has a memory."""
    if of_head and of_tracker:
        raise ValueError(
            "two memories: MemoryTracker has one and so has the model's MemoryTrackHead; give one"
        )
    if not of_head and not of_tracker:
        raise ValueError(
            'MemoryTracker has no memory: expected track_head=dict(type="mmstremn.MemoryTrackHead", '
            'head=...) in the model or memory=dict(type="SlotMemory", selector=dict(type="FIFOSelector")) in '
            'the tracker'
        )
