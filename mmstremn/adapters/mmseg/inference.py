"""A segmentor with a memory on one's own video."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from mmseg.models import BaseSegmentor
from mmseg.structures import SegDataSample

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
    """Segment the frames of one video in order, so that the memory goes from frame to frame.

    mmsegmentation's own ``inference_model`` and ``MMSegInferencer`` know images alone and leave the memory
    out::

        model = mmseg.apis.init_model(CONFIG, CHECKPOINT, device='cpu')
        for sample in segment_video(model, VideoFile('street.mp4')):
            classes = sample.pred_sem_seg.data[0]

    Args:
        model: Of mmsegmentation's ``init_model``: with the whole config as ``cfg``, whose ``test_pipeline``
            (or the test data set's pipeline) prepares a frame.
        frames: (H, W, 3) uint8 RGB each: a :class:`Video` of this library, or any iterable of arrays.
        name: Of the video; another name begins anew.

    Yields:
        A sample with ``pred_sem_seg`` for each frame.

    Raises:
        ValueError: The config has no test pipeline, or a frame is not (H, W, 3) uint8; the message says
            which.
    """
    pipeline = _pipeline(model)
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
        yield model.test_step(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]))[0]


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
