"""Which detection continues which track: the rules of mmdet's two trackers, on similarities that come from a
memory.

Rules as in MaskTrack R-CNN (Yang et al., ICCV 2019, section 4) and QDTrack (Pang et al., CVPR 2021, section
3.3), checked against mmdet's MaskTrackRCNNTracker and QuasiDenseTracker: with one slot that every observation
overwrites, the identities are theirs.

Letters in shapes: D detections, N tracks, C channels of an embedding.
"""

import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from mmstremn.registry import MODELS

NEW, IGNORED = -1, -2
"""What a detection can be besides the index of a track: the first of a new one, or of none."""


@MODELS.register_module()
class SoftmaxMatcher:
    """MaskTrack R-CNN's rule: every detection takes its best track, or begins one if none is similar.

    The score of a detection and a track is the logarithm of a softmax over the tracks and a new one (of
    similarity 0), plus weighted terms. Of several detections that want a track the best one gets it and the
    others are ignored.

    Args:
        det_score: Weight of the logarithm of the detection's score.
        iou: Weight of the overlap with the track's last box.
        det_label: Weight of equal labels; a new track counts as equal.
    """

    def __init__(self, det_score: float = 1.0, iou: float = 2.0, det_label: float = 10.0):
        self.det_score, self.iou, self.det_label = det_score, iou, det_label

    def reset(self) -> None:
        """Nothing is kept between frames."""

    def candidates(self, found: InstanceData) -> Tensor:
        """Indices of the detections to match: all."""
        return torch.arange(len(found), device=found.scores.device)

    def match(
        self, similarity: Tensor, embeddings: Tensor, found: InstanceData, boxes: Tensor, labels: Tensor
    ) -> Tensor:
        """Match.

        Args:
            similarity: (D, N).
            embeddings: (D, C).
            found: ``bboxes`` (D, 4), ``labels`` (D,) and ``scores`` (D,) of the candidates.
            boxes: (N, 4), the last ones of the tracks.
            labels: (N,), the last ones of the tracks.

        Returns:
            (D,) long: the index of a track, NEW or IGNORED.
        """
        score = torch.cat([similarity.new_zeros(len(similarity), 1), similarity], 1).log_softmax(1)
        score = score + self.det_score * found.scores.log()[:, None]
        score[:, 0] += self.det_label
        score[:, 1:] += self.iou * bbox_overlaps(found.bboxes, boxes)
        score[:, 1:] += self.det_label * (found.labels[:, None] == labels)
        best, wanted = score.max(1)
        taken = wanted - 1  # NEW where nothing is similar
        for track in taken[taken >= 0].unique():
            rivals = (taken == track).nonzero()[:, 0]
            taken[rivals] = IGNORED
            taken[rivals[best[rivals].argmax()]] = track
        return taken


@MODELS.register_module()
class BiSoftmaxMatcher:
    """QDTrack's rule: softmax over the tracks and over the detections, averaged; sure detections may begin a
    track.

    What was neither matched nor new in the last frame, the backdrops, competes with the tracks for the next
    one.

    Args:
        init_score_thr: Score above which an unmatched detection begins a track.
        obj_score_thr: Score above which a detection continues a track.
        match_score_thr: Least averaged softmax of a match.
        backdrop_iou_thr: Overlap with a better detection from which on one below ``obj_score_thr`` is a
            duplicate.
        class_iou_thr: The same for all others.
        with_cats: A track and its detections have the same label.
    """

    def __init__(
        self,
        init_score_thr: float = 0.8,
        obj_score_thr: float = 0.5,
        match_score_thr: float = 0.5,
        backdrop_iou_thr: float = 0.3,
        class_iou_thr: float = 0.7,
        with_cats: bool = True,
    ):
        self.init_score_thr, self.obj_score_thr, self.match_score_thr = (
            init_score_thr,
            obj_score_thr,
            match_score_thr,
        )
        self.backdrop_iou_thr, self.class_iou_thr, self.with_cats = backdrop_iou_thr, class_iou_thr, with_cats
        self.reset()

    def reset(self) -> None:
        """A new video has no backdrops."""
        self.backdrops: tuple[Tensor, Tensor] | None = None  # embeddings (M, C) and labels (M,)

    def candidates(self, found: InstanceData) -> Tensor:
        """Indices of the detections to match: by descending score, without duplicates."""
        order = found.scores.sort(descending=True)[1]
        boxes, scores = found.bboxes[order], found.scores[order]
        limit = torch.where(scores < self.obj_score_thr, self.backdrop_iou_thr, self.class_iou_thr)
        return order[~_overlaps_a_better_one(boxes, limit)]

    def match(
        self, similarity: Tensor, embeddings: Tensor, found: InstanceData, boxes: Tensor, labels: Tensor
    ) -> Tensor:
        """As in :class:`SoftmaxMatcher`; candidates come by descending score."""
        tracks = similarity.shape[1]
        if self.backdrops is not None and tracks:
            similarity = torch.cat([similarity, embeddings @ self.backdrops[0].T], 1)
            labels = torch.cat([labels, self.backdrops[1]])
        taken = torch.full((len(similarity),), NEW, device=similarity.device)
        if tracks:
            self._match(similarity, found, labels, tracks, taken)
        self._keep_backdrops(taken, embeddings, found)
        return torch.where((taken == NEW) & (found.scores <= self.init_score_thr), IGNORED, taken)

    def _match(
        self, similarity: Tensor, found: InstanceData, labels: Tensor, tracks: int, taken: Tensor
    ) -> None:
        """Fill ``taken``, best detections first; weak ones that resemble a track are duplicates of it."""
        score = (similarity.softmax(1) + similarity.softmax(0)) / 2
        if self.with_cats:
            score = score * (found.labels[:, None] == labels)
        for index in range(len(score)):
            confidence, best = score[index].max(0)
            if confidence <= self.match_score_thr or best >= tracks:
                continue
            if found.scores[index] > self.obj_score_thr:
                taken[index] = best
                score[index + 1 :, best] = 0
            else:
                taken[index] = IGNORED

    def _keep_backdrops(self, taken: Tensor, embeddings: Tensor, found: InstanceData) -> None:
        left = (taken == NEW) & (found.scores <= self.init_score_thr)
        left = left & ~_overlaps_a_better_one(found.bboxes, self.backdrop_iou_thr)
        self.backdrops = embeddings[left], found.labels[left]


def _overlaps_a_better_one(boxes: Tensor, limit: Tensor | float) -> Tensor:
    """(D,) bool: a box (D, 4) overlaps one before it by more than its ``limit`` (or (D,) limits)."""
    overlap = bbox_overlaps(boxes, boxes).tril(-1)
    return (overlap.amax(1) if len(boxes) else overlap.new_zeros(0)) > limit
