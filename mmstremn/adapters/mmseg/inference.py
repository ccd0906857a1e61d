"""A segmentor with a memory on one's own video."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from mmseg.models import BaseSegmentor
from mmseg.structures import SegDataSample

from mmstremn.adapters.mmseg.memory_head import MemoryDecodeHead
from mmstremn.adapters.mmseg.order import Stream
from mmstremn.datasets.io.frame_sources import are_pictures, open_source
from mmstremn.structures import Video, iterate_frames

LOADERS = (
    'LoadImageFromFile',
    'LoadImageFromNDArray',
    'LoadAnnotations',
    'InferencerLoader',
    'LoadVideoFrame',
)


@torch.no_grad()
def segment_video(
    model: BaseSegmentor, frames: Iterable[np.ndarray], name: str = 'video'
) -> Iterator[SegDataSample]:
    """Segment the frames of one video in order, so that the memory goes from frame to frame. Several videos
    may be segmented in turn by one model.

    mmsegmentation's own ``inference_model`` and ``MMSegInferencer`` know images alone and leave the memory
    out::

        model = mmseg.apis.init_model(CONFIG, CHECKPOINT, device='cpu')
        for sample in segment_video(model, VideoFile('street.mp4')):
            classes = sample.pred_sem_seg.data[0]

    Args:
        model: Of mmsegmentation's ``init_model``: with the whole config as ``cfg``, whose ``test_pipeline``
            (or the test data set's pipeline) prepares a frame. In evaluation mode.
        frames: (H, W, 3) uint8 RGB each: a :class:`Video` of this library, any iterable of arrays, or a list
            of paths of pictures.
        name: Of the video, for samples and messages.

    Yields:
        A sample with ``pred_sem_seg`` for each frame.

    Raises:
        ValueError: The config has no test pipeline, the model is in training mode, or a frame is not
            (H, W, 3) uint8 or of another size than the first; the message says which.
        TypeError: ``frames`` is a path.
    """
    if isinstance(frames, str | Path):
        raise TypeError(
            f"expected the frames of a video, got the path '{frames}': give VideoFile('{frames}')"
        )
    if model.training:
        raise ValueError('the model is in training mode: call model.eval() before segment_video')
    if are_pictures(frames):
        frames = open_source(frames)
    pipeline, stream = _pipeline(model), None
    for index, frame in enumerate(iterate_frames(frames) if isinstance(frames, Video) else frames):
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(
                f"frame {index} of '{name}': expected an array (H, W, 3) uint8 RGB, got {frame.shape} "
                f'{frame.dtype}'
            )
        size = frame.shape[:2]
        image = np.ascontiguousarray(frame[..., ::-1])  # mmsegmentation loads BGR
        packed = pipeline(dict(img=image, img_shape=size, ori_shape=size, seg_fields=[]))
        packed['data_samples'].set_metainfo(dict(video_name=name, frame_index=index))
        batch = dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])
        sample, stream = _step(model, batch, stream)
        yield sample


def _step(model: BaseSegmentor, batch: dict, stream: Stream | None) -> tuple[SegDataSample, Stream | None]:
    """The result of a frame and the stream after it; the video that the head itself reads stays as it is."""
    head = getattr(model, 'decode_head', None)
    if not isinstance(head, MemoryDecodeHead):
        return model.test_step(batch)[0], None
    others, head.stream = head.stream, stream
    try:
        return model.test_step(batch)[0], head.stream
    finally:
        head.stream = others


def _pipeline(model: BaseSegmentor) -> Compose:
    """The steps of the config's test pipeline that come after loading."""
    cfg = getattr(model, 'cfg', None) or {}
    steps = cfg.get('test_pipeline')
    if steps is None:
        steps = cfg.get('test_dataloader', {}).get('dataset', {}).get('pipeline')
    if steps is None:
        raise ValueError(
            'the model has no test pipeline: expected model.cfg with test_pipeline or '
            'test_dataloader.dataset.pipeline, as mmseg.apis.init_model sets it'
        )
    steps = [step for step in steps if str(step['type']).rpartition('.')[2] not in LOADERS]
    with DefaultScope.overwrite_default_scope('mmseg'):
        return Compose(steps)
