"""The data element that carries a clip's masks into training and a video's predictions out of testing."""

from mmengine.structures import BaseDataElement

VOID = 255


class VOSDataSample(BaseDataElement):
    """Masks of one clip or one video.

    Metainfo: ``video_name`` (str), ``object_ids`` (list[int], the ids in the source's masks), and in training
    ``frame_indices`` (list[int]) and ``sample_seed`` (int, the seed of everything random about this sample).

    Fields:
        masks: (T, H, W) uint8 ids 0..O of a training clip, 255 where void.
        pred_masks: One palette PNG (bytes) of ids per frame of a tested video.
    """
