"""Frames of anything that shows a video: files, folders, arrays, cameras, streams."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from mmstremn.datasets.io.folders import is_path, is_picture
from mmstremn.datasets.io.video_file import ImageFolder, VideoFile, open_video
from mmstremn.datasets.io.video_index import upright
from mmstremn.structures.video import Video

PROTOCOLS = ('http://', 'https://', 'rtmp://', 'rtp://', 'rtsp://', 'srt://', 'tcp://', 'udp://')
WINDOW_BYTES = 64 * 2**20  # of decoded frames that are held to give them backwards
LONGEST_WINDOW = 32


class ArrayVideo(Video):
    """Frames in memory as a video.

    Args:
        frames: (H, W, 3) uint8 RGB each.
        name: Of the video.

    Raises:
        ValueError: There is no frame, or one is no (H, W, 3) uint8 array or of another size than the first.
    """

    def __init__(self, frames: Iterable[np.ndarray], name: str = 'frames'):
        self.name, self._frames = name, [np.asarray(frame) for frame in frames]
        if not self._frames:
            raise ValueError(f'{name}: expected at least one frame')
        for index, frame in enumerate(self._frames):
            check_frame(frame, f'{name}: frame {index}')
            if frame.shape != self._frames[0].shape:
                raise ValueError(
                    f'{name}: frame {index} is {frame.shape}, expected {self._frames[0].shape} like the first'
                )
        self.num_frames, self.size = len(self._frames), self._frames[0].shape[:2]

    @property
    def annotated(self) -> list[int]:
        return []

    def frame(self, index: int) -> np.ndarray:
        return self._frames[index]

    def mask(self, index: int) -> None:
        return None


class LiveVideo:
    """Frames that come once, in order: a camera, a stream, an iterator. Their number is not known.

    Attributes:
        name: Of the video.
        rate: Frames a second, or None.
    """

    def __init__(self, frames: Iterable[np.ndarray], name: str = 'live', rate: Fraction | None = None):
        self._frames, self.name, self.rate = frames, name, rate

    def __iter__(self) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 RGB each.

        Raises:
            ValueError: A frame is none.
        """
        for index, frame in enumerate(self._frames):
            frame = np.asarray(frame)
            check_frame(frame, f'{self.name}: frame {index}')
            yield frame


def check_frame(frame: np.ndarray, source: str) -> None:
    """Raises a ValueError where ``frame`` is no (H, W, 3) uint8 array."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise ValueError(f'{source}: expected (H, W, 3) uint8 RGB, got {frame.shape} {frame.dtype}')


def open_source(source: object, check: bool = True) -> Video | LiveVideo:
    """A video of anything that shows one.

    Args:
        source: A video file, a folder of pictures, a list or array of paths of pictures, a :class:`Video`,
            an array (T, H, W, 3) or a list of (H, W, 3) arrays, uint8 RGB; or, of which the end is not known:
            an iterator of arrays, the number of a camera, or the URL of a stream (``rtsp://...``).
        check: Decode a video file once, to find damage before work is lost.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: It holds no video; the message names it.
        OSError: A camera or a stream cannot be opened.
        TypeError: It is none of these.
    """
    if isinstance(source, (Video, LiveVideo)):
        return source
    if isinstance(source, int) and not isinstance(source, bool):
        return LiveVideo(_camera(source), f'camera{source}')
    if isinstance(source, str) and source.lower().startswith(PROTOCOLS):
        return _open_stream(source)
    if is_path(source):
        return open_video(source) if check else _open_unchecked(Path(source))
    if isinstance(source, np.ndarray):
        source = list(np.atleast_1d(source))
    if isinstance(source, (list, tuple)):
        return open_video(source) if any(map(is_path, source)) else ArrayVideo(source)
    if isinstance(source, Iterable):
        return LiveVideo(source)
    raise TypeError(
        'expected a video file, a folder or a list of pictures, arrays of frames, an iterator of them, the '
        f'number of a camera or the URL of a stream, got a {type(source).__name__}'
    )


def are_pictures(source: object) -> bool:
    """Whether a list is one of paths of pictures, the frames of one video."""
    is_list = isinstance(source, (list, tuple)) and len(source) > 0
    return is_list and all(is_path(path) and is_picture(Path(path)) for path in source)


def _open_unchecked(path: Path) -> Video:
    return ImageFolder(path) if path.is_dir() else VideoFile(path)


def _camera(number: int) -> Iterator[np.ndarray]:
    capture = cv2.VideoCapture(number)
    if not capture.isOpened():
        capture.release()
        raise OSError(f'camera {number}: cannot be opened; is it plugged in, and free?')
    return _captured(capture)


def _captured(capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    try:
        while (read := capture.read())[0]:
            yield cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def _open_stream(url: str) -> LiveVideo:
    try:
        container = av.open(url, timeout=20)
    except av.FFmpegError as error:
        raise OSError(f'{url}: cannot be opened ({error})') from error
    if not container.streams.video:
        container.close()
        raise ValueError(f'{url}: expected a video, it has none')
    rate = container.streams.video[0].average_rate
    return LiveVideo(_decoded(container, url), Path(url.rstrip('/')).stem or 'stream', rate)


def _decoded(container: av.container.InputContainer, url: str) -> Iterator[np.ndarray]:
    reformatter = VideoReformatter()
    with container:
        for frame in container.decode(video=0):
            yield upright(frame, Path(url), reformatter)


def iterate_run(video: Video, frames: range, prefetch: int = 2) -> Iterator[np.ndarray]:
    """Consecutive frames in the order of ``frames``, forwards or backwards, decoded ahead by one thread.

    Backwards they are decoded in windows, each forwards, so that every frame is decoded once; two windows of
    at most ``WINDOW_BYTES`` are held.
    """
    if frames.step > 0:
        jobs: list[range] = [range(index, index + 1) for index in frames]
    else:
        height, width = video.size
        size = max(1, min(LONGEST_WINDOW, WINDOW_BYTES // (height * width * 3)))
        jobs, prefetch = [frames[k : k + size] for k in range(0, len(frames), size)], 1
    for window in _ahead(lambda run: _window(video, run), jobs, prefetch):
        while window:
            yield window.pop()


def _window(video: Video, run: range) -> list[np.ndarray]:
    """Frames so that ``pop`` gives them in the order of ``run``."""
    return [video.frame(index) for index in sorted(run)]


def _ahead(function: Callable, arguments: list, prefetch: int) -> Iterator:
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = deque(arguments)
        pending = deque(pool.submit(function, waiting.popleft()) for _ in range(min(prefetch, len(waiting))))
        try:
            while pending:
                if waiting:
                    pending.append(pool.submit(function, waiting.popleft()))
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def fingerprint(video: Video) -> str:
    """Tells videos apart: names, sizes and times of change of their files; of others the first and the last
    frame."""
    path = getattr(video, 'path', None)
    files = getattr(video, 'files', None) or ([] if path is None else [path])
    digest = hashlib.sha256()
    for file in map(Path, files):
        about = file.stat()
        digest.update(f'{file.name}/{about.st_size}/{about.st_mtime_ns}\n'.encode())
    for index in () if files else (0, video.num_frames - 1):
        digest.update(video.frame(index).tobytes())
    return digest.hexdigest()[:16]


def source_rate(video: Video | LiveVideo, default: int = 15) -> Fraction:
    """Frames a second of a video; ``default`` for pictures and arrays, and where a file does not say."""
    return Fraction(getattr(video, 'rate', None) or default)


def frame_folders(video: object) -> set[Path]:
    """The folders in which the frames and masks of a video lie as pictures, without symbolic links."""
    frames = getattr(video, 'files', None) or getattr(video, 'frame_files', None) or []
    return {Path(file).resolve().parent for file in (*frames, *getattr(video, 'mask_files', {}).values())}


def check_no_frames(folder: Path, of_video: Iterable[Path]) -> None:
    """Check that results written to a folder replace no frames or masks of their video.

    Args:
        folder: For the results.
        of_video: The video's own folders, see :func:`frame_folders`.

    Raises:
        ValueError: It is one of them.
    """
    if folder.resolve() in of_video:
        raise ValueError(
            f'{folder} holds frames or masks of the video, which would be replaced: take another folder for '
            'the results'
        )


def frame_names(video: Video) -> list[str]:
    """Names of the frames: of their files, where no two have the same, else their numbers."""
    names = [Path(file).stem for file in getattr(video, 'files', None) or []]
    if names and len({*names}) == len(names):
        return names
    return [f'{k:05d}' for k in range(video.num_frames)]
