"""The data elements that carry what belongs to a clip into training, and predictions out of testing."""

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


class PredictionDataSample(BaseDataElement):
    """One clip of video prediction.

    Metainfo: ``clip_name`` (str, unique in its data set), ``input_frames`` (int, how many of the clip's
    frames the model is given; the others are to be predicted) and ``sample_seed`` (int, the seed of
    everything random about this sample). Some data sets add ``returned_frames`` (list of int, which of the
    frames to predict, counted from 0, show something that the last given frame hid). After prediction also
    ``frame_seconds`` (float, mean wall time of a frame; clips of a batch share theirs) and ``state_bytes``
    (int, most bytes of the memory's state after any frame, for this clip).

    Fields, after prediction:
        pred_frames: (T, C, H, W) float32, what the model predicts for the T frames after the input, of 0..1
            but not clipped.
        true_frames: (T, C, H, W) uint8, the same frames of the clip.
    """
