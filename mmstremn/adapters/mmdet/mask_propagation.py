"""Video instance segmentation from any instance segmentation model and a memory: detect seldom, propagate
always."""

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmdet.models.mot import BaseMOTModel
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures import TrackDataSample
from mmengine.logging import print_log
from mmengine.runner import load_checkpoint
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.ops import masks_to_boxes

from mmstremn.adapters.mmdet.video_order import VideoOrder
from mmstremn.registry import MODELS, find

MOST_OBJECTS = 254  # ids of a stream are uint8, 255 is void


@dataclass
class KnownObjects:
    """The objects of the current video; object k has the id k + 1 in the stream.

    Attributes:
        labels, scores: (K,) of the detections that they began with.
        since_detection: Frames since the detector last ran.
    """

    labels: Tensor
    scores: Tensor
    since_detection: int = 0


@MODELS.register_module()
class MemoryMaskPropagation(BaseMOTModel):
    """Any mmdet model that gives masks finds objects; a :class:`VOSegmentor` and its memory carry their masks
    on.

    Its output is that of mmdet's video instance segmentation: ``pred_track_instances`` with ``bboxes``,
    ``labels``, ``scores``, ``masks`` and ``instances_id`` in every frame, for ``YouTubeVISMetric``. Frames
    come as whole videos or one by one in order. The segmentor sees what the test pipeline and the data
    preprocessor make of the frames, turned back into uint8 RGB (mmdet's pipelines load BGR).

    It does not train: the detector and the segmentor are trained apart.

    Args:
        detector: Config of an mmdet detector with masks.
        segmentor: Config of a VOSegmentor.
        detector_checkpoint: File or URL; of the detector, or of a model such as MaskTrackRCNN that holds it
            as ``detector``.
        segmentor_checkpoint: File or URL.
        detect_every: The detector runs on every n-th frame and adds objects that overlap none that is known;
            None: on the first frame alone. Until something is found it runs on every frame.
        score_thr: Least score of a detection that becomes an object.
        new_iou_thr: Mask IoU with a known object below which a detection is new.
        data_preprocessor: Config of mmdet's TrackDataPreprocessor.
        init_cfg: As in mmengine.

    Raises:
        FileNotFoundError: A checkpoint file that does not exist; the message names the argument.
    """

    def __init__(
        self,
        detector: dict,
        segmentor: dict,
        detector_checkpoint: str | None = None,
        segmentor_checkpoint: str | None = None,
        detect_every: int | None = 5,
        score_thr: float = 0.5,
        new_iou_thr: float = 0.3,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(data_preprocessor or dict(type='mmdet.TrackDataPreprocessor'), init_cfg)
        if detect_every is not None and detect_every < 1:
            raise ValueError(
                f'MemoryMaskPropagation.detect_every must be at least 1 or None, got {detect_every}'
            )
        self.detector = MMDET_MODELS.build(detector)
        settings = dict(segmentor)
        self.segmentor = find(settings.pop('type'))(**settings)
        _load(self.detector, detector_checkpoint, 'detector_checkpoint')
        _load(self.segmentor, segmentor_checkpoint, 'segmentor_checkpoint')
        self.detect_every, self.score_thr, self.new_iou_thr = detect_every, score_thr, new_iou_thr
        self._order = VideoOrder()
        self._begin()

    def _begin(self) -> None:
        """A new video: nothing is known."""
        device = next(self.parameters()).device
        self._stream = self.segmentor.new_stream()
        self._known = KnownObjects(
            torch.zeros(0, dtype=torch.long, device=device), torch.zeros(0, device=device)
        )

    def loss(self, inputs: Tensor, data_samples: list[TrackDataSample], **kwargs):
        """Raise: this model does not train.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            'MemoryMaskPropagation does not train: train the detector with mmdet and the segmentor with '
            'mmstremn, and give '
            'detector_checkpoint and segmentor_checkpoint'
        )

    @torch.no_grad()
    def predict(
        self, inputs: Tensor, data_samples: list[TrackDataSample], rescale: bool = True, **kwargs
    ) -> list[TrackDataSample]:
        """Fill ``pred_track_instances`` of every frame.

        Args:
            inputs: (1, T, 3, H, W), from the data preprocessor.
            data_samples: One, of T frames; all of a video, or the next ones.
            rescale: Must be True: masks and boxes are in pixels of the original frames.

        Raises:
            ValueError: More than one video, frames out of order or of another size, or ``rescale`` off.
            TypeError: The detector gives no masks.
        """
        if len(data_samples) != 1 or not rescale:
            raise ValueError(
                f'expected 1 video and rescale=True, got {len(data_samples)} and rescale={rescale}'
            )
        for index, sample in enumerate(data_samples[0]):
            if self._order.begins(sample.metainfo):
                self._begin()
            sample.pred_track_instances = self._frame(inputs[:, index], sample)
        return data_samples

    def _frame(self, image: Tensor, sample) -> InstanceData:
        """The objects of the next frame; ``image`` is (1, 3, H, W)."""
        frame = self._to_rgb(image, sample.metainfo['img_shape'][:2])
        stream, ids = self._stream, None
        if len(self._known.labels):
            stream = copy.copy(stream)
            stream.state = (
                stream.state.clone()
            )  # a preview: where new objects are found the frame is seen again
            ids = stream.step(frame)
        if self._detects():
            new = self._find_new(image, sample, ids, tuple(frame.shape[:2]))
            if new is not None:
                stream = self._stream
                ids = stream.step(frame, new)
        self._stream = stream
        return self._instances(ids, sample.metainfo['ori_shape'][:2])

    def _detects(self) -> bool:
        """Whether the detector runs on this frame; counts frames."""
        known = self._known
        known.since_detection += 1
        due = self.detect_every is not None and known.since_detection >= self.detect_every
        if len(known.labels) and not due:
            return False
        known.since_detection = 0
        return True

    def _find_new(self, image: Tensor, sample, ids: Tensor | None, size: tuple[int, int]) -> Tensor | None:
        """Masks (h, w) of the new objects' ids, or None; the objects become known.

        Args:
            image: (1, 3, H, W).
            sample: Of the frame.
            ids: (h, w) of the known objects, or None.
            size: (h, w) of the frame that the segmentor sees.
        """
        found = self.detector.predict(image, [sample], rescale=True)[0].pred_instances
        if 'masks' not in found:
            raise TypeError(
                f'{type(self.detector).__name__} gives no masks: expected an instance segmentation model'
            )
        found = found[found.scores >= self.score_thr]
        found = found[found.scores.argsort(descending=True)]
        if not len(found):
            return None
        masks = (
            F.interpolate(
                torch.as_tensor(found.masks, device=image.device)[None].float(), size, mode='nearest'
            )[0]
            > 0.5
        )
        painted = torch.zeros(size, dtype=torch.uint8, device=image.device)
        for label, score, mask in zip(found.labels, found.scores, masks, strict=True):
            free = mask & (painted == 0)
            if (
                _overlaps(mask, ids, self.new_iou_thr)
                or _overlaps(mask, painted, self.new_iou_thr)
                or not free.any()
            ):
                continue
            if len(self._known.labels) == MOST_OBJECTS:
                print_log(f'more than {MOST_OBJECTS} objects in a video: the others are left out', 'current')
                break
            self._add(label, score)
            painted[free] = len(self._known.labels)
        return painted if painted.any() else None

    def _add(self, label: Tensor, score: Tensor) -> None:
        known = self._known
        known.labels = torch.cat([known.labels, label[None].to(known.labels)])
        known.scores = torch.cat([known.scores, score[None].to(known.scores)])

    def _to_rgb(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """(h, w, 3) uint8 RGB from what the data preprocessor made of a frame: (1, 3, H, W), padded."""
        processor = self.data_preprocessor
        image = image[:, :, : size[0], : size[1]]
        if processor._enable_normalize:
            image = image * processor.std + processor.mean
        if not processor._channel_conversion:
            image = image.flip(1)
        return image[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)

    def _instances(self, ids: Tensor | None, size: tuple[int, int]) -> InstanceData:
        """The objects that are seen; ``ids`` (h, w) are scaled to the original ``size``."""
        known = self._known
        if ids is None:
            ids = torch.zeros(size, dtype=torch.uint8, device=known.labels.device)
        ids = F.interpolate(ids[None, None].float(), size, mode='nearest')[0, 0].long()
        seen = ids.unique()
        seen = seen[seen > 0] - 1
        masks = ids == seen[:, None, None] + 1
        boxes = masks_to_boxes(masks)
        boxes[:, 2:] += 1  # masks_to_boxes gives the last pixel, boxes end after it
        return InstanceData(
            bboxes=boxes, labels=known.labels[seen], scores=known.scores[seen], masks=masks, instances_id=seen
        )


def _overlaps(mask: Tensor, ids: Tensor | None, limit: float) -> bool:
    """Whether a mask (h, w) has an IoU of at least ``limit`` with an object of ``ids`` (h, w)."""
    if ids is None or not mask.any():
        return False
    inside = torch.bincount(ids[mask].long(), minlength=256)
    areas = torch.bincount(ids.flatten().long(), minlength=256)
    iou = inside / (areas + mask.sum() - inside)
    return bool((iou[1:] >= limit).any())


def _load(module: torch.nn.Module, checkpoint: str | None, argument: str) -> None:
    if checkpoint is None:
        return
    try:
        load_checkpoint(
            module, checkpoint, map_location='cpu', revise_keys=[(r'^(module\.)?(detector\.)?', '')]
        )
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{argument}: no such file '{checkpoint}'") from error
