"""Segmenting a whole video that is decoded as it goes: frames in, compressed masks out."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from mmstremn.models.segmentation.merged_stream import MergedStream
from mmstremn.models.segmentation.stream import VOSStream
from mmstremn.structures import VOSDataSample
from mmstremn.structures.video import Video, iterate_frames
from mmstremn.utils.palette import encode_palette_png


def predict_video(model, video: Video, sample: VOSDataSample, seed: int = 0) -> None:
    """Segment ``video`` from its prompts and fill ``sample``.

    At most a few decoded frames are held, whatever the length. Frames before the first prompt are empty.

    Args:
        model: A VOSegmentor.
        video: With at least one prompt.
        sample: Gets ``pred_masks`` (a palette PNG per frame) and metainfo ``frame_seconds`` (mean wall time a
            frame, with decoding and compression), ``state_bytes`` (most bytes of the memory's state after any
            frame, of all variants of ``model.test_time``) and, of a memory of fixed slots, ``slot_timeline``
            (T, S): the frame that each slot of key group 0 (of the first variant) holds after each frame, -1
            where empty.
        seed: For memories that draw at random, unless the sample has a ``sample_seed``.

    Raises:
        ValueError: The video has no prompt.
    """
    prompts = {index: masks for index, masks in video.prompts.items() if masks.any()}
    if not prompts:
        raise ValueError(
            f"video '{video.name}' has no annotated object: expected a mask with an id in 1..254"
        )
    first = min(prompts)
    stream, stamps, pngs, state_bytes = model.new_stream(sample.get('sample_seed', seed)), [], [], 0
    begin = time.perf_counter()
    with ThreadPoolExecutor(max_workers=1) as pool:
        for index, frame in enumerate(iterate_frames(video)):
            if index < first:
                ids = np.zeros(video.size, np.uint8)
            else:
                ids = stream.step(frame, prompts.get(index)).cpu().numpy()
                stamps.append(slot_stamps(stream, first))
                state_bytes = max(state_bytes, stream.nbytes)
            pngs.append(pool.submit(encode_palette_png, ids))
        sample.pred_masks = [png.result() for png in pngs]
    seconds = (time.perf_counter() - begin) / video.num_frames
    sample.set_metainfo(dict(frame_seconds=seconds, state_bytes=state_bytes))
    held = [stamp for stamp in stamps if stamp is not None]
    if held:
        before = torch.full((first, held[0].shape[0]), -1)
        sample.set_metainfo(dict(slot_timeline=torch.cat([before, torch.stack(held).cpu()]).numpy()))


def slot_stamps(stream: VOSStream | MergedStream, first: int = 0) -> torch.Tensor | None:
    """(S,) frame held by each slot of key group 0, -1 where empty; None for memories without fixed slots.

    ``first`` is the frame of the video with which the stream began. A stream whose memory begins later, with
    its first object, counts from there.
    """
    stamps = None if stream.state is None else stream.model.memory.timeline(stream.state)
    return None if stamps is None else torch.where(stamps < 0, stamps, stamps + first + stream.began)
