"""Test videos with cuts: shots of one sequence with shots of others between, in which its objects are absent.

How often does a model paint something while the object is away, and does it find it again (``DAVISMetric``)?
"""

from collections.abc import Sequence

import numpy as np

from mmstremn.datasets.io.images import resize_rgb
from mmstremn.structures.video import Video


class VideoWithForeignShots(Video):
    """A video, and a foreign shot after each ``shot_length`` of its frames but the last ones.

    Foreign frames are resized to the video's size; their masks are empty.

    Args:
        video: Keeps all its frames.
        others: The videos of which one after the other gives a foreign shot; those with the name of ``video``
            are left out.
        shot_length: Frames of the video between two foreign shots.
        foreign_length: Frames of a foreign shot.

    Raises:
        ValueError: A length is below 1, or no other video has another name.
    """

    def __init__(
        self, video: Video, others: Sequence[Video], shot_length: int = 20, foreign_length: int = 10
    ):
        if min(shot_length, foreign_length) < 1:
            raise ValueError(
                f'foreign shots: expected lengths of at least 1, got shot_length {shot_length} and '
                f'foreign_length {foreign_length}'
            )
        others = [other for other in others if other.name != video.name]
        if not others:
            raise ValueError(f"foreign shots in '{video.name}': expected at least one video of another name")
        self.name, self.size, self.video = video.name, video.size, video
        self.places: list[tuple[Video, int]] = []
        for shot, begin in enumerate(range(0, video.num_frames, shot_length)):
            if begin:
                self.places += _shot(others[(shot - 1) % len(others)], shot, foreign_length)
            self.places += [(video, i) for i in range(begin, min(begin + shot_length, video.num_frames))]
        self.num_frames = len(self.places)

    @property
    def annotated(self) -> list[int]:
        known = set(self.video.annotated)
        return [
            k for k, (video, index) in enumerate(self.places) if video is not self.video or index in known
        ]

    def frame(self, index: int) -> np.ndarray:
        video, place = self.places[index]
        frame = video.frame(place)
        return frame if video is self.video else resize_rgb(frame, self.size)

    def mask(self, index: int) -> np.ndarray | None:
        video, place = self.places[index]
        return video.mask(place) if video is self.video else np.zeros(self.size, np.uint8)


def _shot(video: Video, shot: int, length: int) -> list[tuple[Video, int]]:
    """``length`` frames of a video, others for each shot, played back and forth where it is shorter."""
    period = max(1, 2 * (video.num_frames - 1))
    places = [(7 * shot + step) % period for step in range(length)]
    return [(video, min(place, period - place)) for place in places]
