"""What users may upload."""

from pathlib import Path
from typing import NamedTuple

from mmstremn.datasets.io.folders import VIDEOS, is_video
from mmstremn.datasets.io.frame_sources import open_source
from mmstremn.structures import Video


class Limits(NamedTuple):
    """What a user may upload."""

    megabytes: int = 500
    frames: int = 20_000
    megapixels: float = 9.0


DEFAULT_LIMITS = Limits()


def check_file(path: Path, limits: Limits) -> None:
    """Check the name and the size of a file.

    Raises:
        ValueError: It is no video file by its name, or too large.
    """
    if not is_video(path):
        raise ValueError(f'{path.name}: expected a video file ({", ".join(VIDEOS)})')
    size = path.stat().st_size / 1e6
    if size > limits.megabytes:
        raise ValueError(f'{path.name}: {size:.0f} MB, expected at most {limits.megabytes} MB')


def checked_video(path: Path, limits: Limits) -> Video:
    """Open a video file.

    Raises:
        ValueError: It is none, damaged, a list of other files, too long, or its frames are too large.
    """
    video = open_source(path, check=False)
    pixels = video.size[0] * video.size[1] / 1e6
    if pixels > limits.megapixels:
        raise ValueError(
            f'{path}: {video.size[1]} x {video.size[0]} pixels, expected at most '
            f'{limits.megapixels:g} million'
        )
    if video.num_frames > limits.frames:
        raise ValueError(
            f'{path}: {video.num_frames} frames, expected at most {limits.frames}; cut the video'
        )
    return open_source(path)  # decodes it once, to find damage before work is lost
