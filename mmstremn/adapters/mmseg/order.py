"""Which samples of a batch are frames of one video, and whether they come in the order of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral

from mmstremn.memory import MemoryState

HINT = (
    'A memory needs each video in order on one rank: use the sampler mmstremn.VideoSampler (and neither '
    'test-time '
    'augmentation nor shuffling)'
)


def frames_of_video(metas: Sequence[dict]) -> bool:
    """Whether samples are frames of videos; False for images, which have no ``video_name``.

    Raises:
        ValueError: Some are and some are not, or a frame has no place in its video.
    """
    known = [meta.get('video_name') is not None for meta in metas]
    if any(known) and not all(known):
        raise ValueError(
            f"{known.count(False)} of the batch's {len(known)} samples have no video_name in their "
            'metainfo: expected '
            'frames of videos or images alone'
        )
    for meta in metas if any(known) else ():
        _check_place(meta)
    return all(known) and bool(known)


def _check_place(meta: dict) -> None:
    video, frame = meta['video_name'], meta.get('frame_index')
    if not isinstance(video, str | Integral):
        raise ValueError(f'metainfo video_name: expected the name of a video, got {video!r}')
    if not isinstance(frame, Integral) or frame < 0:
        raise ValueError(
            f"video '{video}': expected its metainfo to have frame_index, a whole number that counts its "
            f'frames from 0 on, got {frame!r}'
        )


@dataclass
class Clips:
    """The clips of a batch.

    Attributes:
        order: Places in the batch, clip by clip.
        length: T.
        seeds: One per clip.
    """

    order: list[int]
    length: int
    seeds: tuple[int, ...]


def find_clips(metas: Sequence[dict]) -> Clips:
    """Group a training batch by ``video_name`` and ``clip_seed``.

    Raises:
        ValueError: The frames of a clip are not in ascending order, or the clips differ in length.
    """
    clips: dict[tuple, list[int]] = {}
    for place, meta in enumerate(metas):
        clips.setdefault((meta['video_name'], meta.get('clip_seed') or 0), []).append(place)
    for (video, _), places in clips.items():
        frames = [metas[place]['frame_index'] for place in places]
        if any(later <= earlier for earlier, later in pairwise(frames)):
            raise ValueError(
                f"video '{video}': expected the frames of a clip in ascending order, got {frames}; use "
                "batch_sampler=dict(type='mmstremn.VideoClipBatchSampler')"
            )
    lengths = sorted({len(places) for places in clips.values()})
    if len(lengths) > 1:
        names = ', '.join(f'{video}: {len(places)}' for (video, _), places in clips.items())
        raise ValueError(
            'expected clips of one length in a batch, as mmstremn.VideoClipBatchSampler makes them, got '
            f'frames of {names}'
        )
    return Clips(
        [place for places in clips.values() for place in places], lengths[0], tuple(seed for _, seed in clips)
    )


@dataclass
class Stream:
    """A video that is being read frame by frame.

    Attributes:
        video: Its name.
        frame: The index of the frame that was last.
        size: What must stay the same: (h, w) of the image and of its features.
        state: Of the memory after that frame.
    """

    video: str
    frame: int
    size: tuple
    state: MemoryState


def state_before(stream: Stream | None, meta: dict, size: tuple) -> MemoryState | None:
    """The state to read a frame with; None where it begins a video.

    Raises:
        ValueError: The frame does not follow the one before it, or has another size.
    """
    video, frame = meta['video_name'], meta['frame_index']
    if frame == 0:
        return None
    if stream is None or stream.video != video:
        last = 'nothing' if stream is None else f"frame {stream.frame} of '{stream.video}'"
        raise ValueError(
            f"video '{video}': expected to begin with frame 0, got frame {frame} after {last}. {HINT}"
        )
    if frame != stream.frame + 1:
        raise ValueError(
            f"video '{video}': expected frame {stream.frame + 1} after {stream.frame}, got {frame}. {HINT}"
        )
    if size != stream.size:
        raise ValueError(
            f"video '{video}': the image size changed from {stream.size[0]} to {size[0]} (features "
            f'{stream.size[1]} to '
            f'{size[1]}) at frame {frame}; expected one size throughout a video: resize all frames to it'
        )
    return stream.state
