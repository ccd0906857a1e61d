"""Whether frames come as a memory needs them: whole videos, one after the other, frame by frame."""

from numbers import Integral

from mmengine.dist import get_world_size

SAMPLER = "use sampler=dict(type='TrackImgSampler') or whole videos in the test dataloader"


class VideoOrder:
    """Checks the metainfo of one frame after the other."""

    def __init__(self):
        self.video, self.frame, self.size = None, None, None

    def begins(self, metainfo: dict) -> bool:
        """Whether this frame begins a video.

        Args:
            metainfo: ``frame_id`` (0 for the first), ``ori_shape``, and ``video_id`` if there are several
                videos.

        Raises:
            ValueError: No ``frame_id``, or one that is no whole number; a video that does not begin with
                frame 0; frames out of order, or of another size than the first, or missing where several
                processes share the work.
        """
        frame = metainfo.get('frame_id')
        if not isinstance(frame, Integral) or frame < 0:
            raise ValueError(
                f'a frame with frame_id={frame!r} in its metainfo: expected its place in the video, a whole '
                'number, 0 for the first'
            )
        video, size = metainfo.get('video_id'), tuple(metainfo['ori_shape'][:2])
        begins = frame == 0
        if not begins:
            self._check(video, frame, size)
        self.video, self.frame, self.size = video, frame, size
        return begins

    def _check(self, video, frame: int, size: tuple[int, int]) -> None:
        if self.frame is None or video != self.video:
            raise ValueError(f'video {video} begins with frame {frame}, expected frame 0: {SAMPLER}')
        if frame <= self.frame:
            raise ValueError(f'frame {frame} of video {video} comes after frame {self.frame}: {SAMPLER}')
        if frame > self.frame + 1 and get_world_size() > 1:
            raise ValueError(
                f'frame {frame} of video {video} comes after frame {self.frame}: is the video split over '
                f'{get_world_size()} ranks? {SAMPLER}'
            )
        if size != self.size:
            raise ValueError(
                f'frame {frame} of video {video} is {size} (H, W), but the frames before are {self.size}'
            )
