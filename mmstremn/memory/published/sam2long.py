"""SAM2Long's memory: several pathways, each a hypothesis of what was seen so far."""

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mmstremn.memory.published.samurai import SAMURAISelector
from mmstremn.memory.published.tracker import TrackerMemory, TrackerState
from mmstremn.memory.state import Entry, Query

TINY = 1e-5


@dataclass(kw_only=True)
class SAM2LongState(TrackerState):
    """A tracker's state with N pathways along the axis of samples.

    Attributes:
        total: (N, O): logarithms of predicted IoU, summed along each pathway, less those of the best one.
    """

    object_fields = TrackerState.object_fields | {'total': 0}
    without_slots = TrackerState.without_slots | {'total'}

    total: Tensor


class SAM2Long(TrackerMemory):
    """N pathways of a tracker; in each frame the N best of all their masks go on, the best first.

    Ding et al., "SAM2Long" (2024); the choice of masks was checked against the rule in
    sam2/sam2_video_predictor.py of Mark12Ding/SAM2Long. A pathway's score is the sum of the logarithms of the
    IoU that the tracker predicted. Where no pathway is sure whether the object is there, masks are preferred
    whose predicted IoU differ in two decimals. A pathway reads its latest frames with a predicted IoU above
    ``least_iou`` in which the object is present, and the previous frame always.

    Not as there: pointers are those of the latest frames, and the attention is not weighted by presence.
    Objects choose their pathways independently. ``num_pathways`` times as many objects are computed.

    Args:
        num_pathways: N.
        least_iou: Exclusive.
        certain: Least absolute logit of presence of a sure pathway, exclusive.
        num_read: Of tracked frames; None: ``num_places``.
        num_prompted: As in :class:`TrackerMemory`.
        key: Likewise.
        num_places: Likewise.
        num_pointers: Likewise.
        max_prompted: Likewise.

    Raises:
        ValueError: A number is below 1.
    """

    state_class = SAM2LongState
    chooses = True

    def __init__(
        self,
        num_pathways: int = 3,
        least_iou: float = 0.1,
        certain: float = 2.0,
        num_read: int | None = None,
        num_prompted: int = 4,
        key: str = 'none',
        num_places: int = 6,
        num_pointers: int = 16,
        max_prompted: int = -1,
    ):
        num_read = num_places if num_read is None else num_read
        for name, number in dict(num_pathways=num_pathways, num_read=num_read).items():
            if number < 1:
                raise ValueError(f'SAM2Long.{name} must be at least 1, got {number}')
        super().__init__(
            num_slots=num_read + 1,
            num_prompted=num_prompted,
            selector=SAMURAISelector(least_iou),
            gates=[],
            key=key,
            num_read=num_read,
            by_rank=True,
            num_places=num_places,
            num_pointers=num_pointers,
            max_prompted=max_prompted,
        )
        self.num_pathways, self.certain = num_pathways, certain

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> TrackerState:
        """Empty slots of all pathways."""
        extras = {name: extra[:1] for name, extra in entry.extras.items()}
        one = dataclasses.replace(entry, key=entry.key[:1], value=entry.value[:1], extras=extras)
        return super().init(one, seeds).map(lambda t: t.repeat(self.num_pathways, *[1] * (t.dim() - 1)))

    def further_fields(self, like: Tensor) -> dict[str, Tensor]:
        """No pathway is better."""
        return dict(total=torch.zeros_like(like, dtype=torch.float32))

    def read(self, state: TrackerState, query: Query) -> tuple[Tensor, TrackerState]:
        """The readout (1, N * O, P, C); ``query.extras`` gets what :meth:`choose` needs of the state."""
        assert isinstance(state, SAM2LongState)
        new = [state.step - birth == 1 for birth in state.births]
        query.extras['pathways'] = state.total, new
        readout, _ = super().read(self._flat(state), query)
        return readout, state

    def write(self, state: TrackerState, entry: Entry) -> TrackerState:
        """Offer an entry of all pathways (N, O, ...).

        Its ``extras`` hold what :meth:`choose` gave, if it was called. Objects that it did not see yet keep
        their pathways.
        """
        assert isinstance(state, SAM2LongState)
        extras = dict(entry.extras)
        parents, total = extras.pop('parents', None), extras.pop('total', None)
        if parents is not None:
            known = parents.shape[1]
            own = torch.arange(self.num_pathways, device=parents.device)[:, None]
            parents = torch.cat([parents, own.expand(-1, len(state.births) - known)], 1)
            objects = torch.arange(len(state.births), device=parents.device)
            state = state.map(lambda tensor: tensor[parents, objects])
            state.total[:, :known] = total
        flat_extras = {name: extra.flatten(0, 1)[None] for name, extra in extras.items()}
        key, value = (tensor.flatten(0, 1)[None] for tensor in (entry.key, entry.value))
        flat_entry = dataclasses.replace(entry, key=key, value=value, extras=flat_extras)
        written = super().write(self._flat(state), flat_entry)
        rows = written.map(lambda tensor: tensor[0].unflatten(0, (self.num_pathways, -1)))
        return dataclasses.replace(rows, births=state.births)

    def _flat(self, state: TrackerState) -> TrackerState:
        """The objects of all pathways as objects of one video."""
        flat = state.map(lambda tensor: tensor.flatten(0, 1)[None])
        return dataclasses.replace(flat, births=state.births * self.num_pathways)

    def choose(self, query: Query, masks: Tensor, iou: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """Which masks go on: rows (N * O,) among those of all pathways and objects, and masks (N * O,).

        Args:
            query: That was read with; its extras get ``chosen``: ``parents`` (N, O) and ``total`` (N, O).
            masks: Not looked at.
            iou: (N * O, M), of M masks.
            score: (N * O,) logits of presence.
        """
        total, new = query.extras['pathways']
        number = len(new)
        ious, scores = (t.double().unflatten(0, (-1, number)).transpose(0, 1).tolist() for t in (iou, score))
        chosen = [
            self.hypotheses(*parts)
            for parts in zip(total.double().T.tolist(), ious, scores, new, strict=True)
        ]
        ways, taken, sums = torch.tensor(chosen, dtype=torch.float64).permute(2, 1, 0)  # (N, O) each
        parents = ways.long().to(iou.device)
        query.extras['chosen'] = dict(parents=parents, total=(sums - sums[:1]).to(total))
        rows = parents * number + torch.arange(number, device=iou.device)
        return rows.flatten(), taken.long().to(iou.device).flatten()

    def hypotheses(
        self, total: list[float], ious: list[list[float]], scores: list[float], new: bool
    ) -> list[tuple[int, int, float]]:
        """(pathway, mask, score) of the N that go on for one object, the best first.

        Args:
            total: Scores of the N pathways.
            ious: Of each pathway's masks.
            scores: Logits of presence by pathway.
            new: It is the first frame in which the object is tracked: the best mask goes on everywhere.
        """
        grown = [
            (way, mask, total[way] + math.log(max(iou, 0.0) + TINY))
            for way, row in enumerate(ious)
            for mask, iou in enumerate(row)
        ]
        grown.sort(key=lambda hypothesis: -hypothesis[2])
        if new:
            return [(way, grown[0][1], 0.0) for way in range(self.num_pathways)]
        if max(map(abs, scores)) > self.certain:
            return grown[: self.num_pathways]
        different: dict[float, tuple[int, int, float]] = {}
        for way, mask, sum_ in grown:
            signed = ious[way][mask] if scores[way] > 0 else -ious[way][mask]
            different.setdefault(round(signed, 2), (way, mask, sum_))
        chosen = list(different.values())[: self.num_pathways]
        missing = sorted({*range(self.num_pathways)} - {way for way, _, _ in chosen})
        best = [next(hypothesis for hypothesis in grown if hypothesis[0] == way) for way in missing]
        return (chosen + best)[: self.num_pathways]
