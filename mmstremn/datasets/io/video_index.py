"""Which frames a video file holds, how to come back to each of them, and how players turn them."""

import logging
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from mmengine.logging import print_log
from PIL import Image

RELIABLE = ('mov', 'mp4', 'matroska', 'webm')  # containers that give each frame its time
HIDDEN = ('vp8', 'gif')  # codecs with packets that show no frame, or that cannot be entered in between
LISTS = ('concat', 'dash', 'hls', 'applehttp', 'imf')  # formats of files that name other files
TEXT = ('ansi', 'bintext', 'idf', 'xbin')  # codecs that draw text
SLACK = 64  # frames that are searched beyond the place where one is expected


@dataclass
class FrameIndex:
    """The frames of a video file that can be decoded.

    Attributes:
        size: (H, W) as players show it.
        rate: Frames a second, or None where the file does not tell.
        frames: What each frame is recognised by after a seek: its time, or where ``by_content`` a checksum of
            its pixels.
        keys: The place and the time of each key frame, ascending.
        by_content: The times of the container are not to be relied on.
        is_whole: No frame is damaged. The decoder fills a damaged one from those before and from what is left
            in its memory, so it is the same only if one thread decodes all from the start of the file.
        time_base: Seconds in which times are counted.
    """

    size: tuple[int, int]
    rate: Fraction | None
    frames: list[int]
    keys: list[tuple[int, int]]
    by_content: bool
    is_whole: bool = True
    time_base: Fraction | None = None

    @property
    def seconds(self) -> list[float] | None:
        """The time of each frame after the first; None where the container is not to be relied on."""
        if self.by_content or self.time_base is None:
            return None
        return [float((time - self.frames[0]) * self.time_base) for time in self.frames]

    def starts(self, index: int) -> list[tuple[int, int]]:
        """The key frames from which a frame can be decoded, the nearest first; none in a damaged file."""
        if not self.is_whole:
            return []
        return self.keys[: bisect_right([place for place, _ in self.keys], index)][::-1]

    def placed(
        self, frames: Iterable[av.VideoFrame], index: int, start: tuple[int, int] | None
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decoded frames with their places.

        Args:
            frames: What the decoder gives after a seek to ``start``, or from the start of the file (None).
            index: The frame that is wanted first.
        """
        if not self.by_content:
            return ((self._places[frame.pts], frame) for frame in frames if frame.pts in self._places)
        return enumerate(frames) if start is None else self._recognised(frames, index, start[0])

    def _recognised(
        self, frames: Iterable[av.VideoFrame], index: int, first: int
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames from the wanted one on, as long as they are what follows it."""
        place = index
        for searched, frame in enumerate(frames):
            if place < len(self.frames) and _checksum(frame) == self.frames[place]:
                yield place, frame
                place += 1
            elif place > index or searched > index - first + SLACK:
                return

    @cached_property
    def _places(self) -> dict[int, int]:
        return {time: place for place, time in enumerate(self.frames)}


def index_video(path: Path, check: bool = False) -> FrameIndex:
    """Find the frames of a video file: from its packets where the container is reliable and the file whole,
    else by decoding all of it.

    Args:
        path: The file.
        check: Decode all of it in any case, and leave out frames in the middle that cannot be decoded, with a
            warning.

    Raises:
        ValueError: It is no video file, or no frame of it can be decoded.
    """
    try:
        index = _from_packets(path)
        if index is None:
            return _from_frames(path)
        return _without_damage(path, index) if check else index
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f'{path}: expected a video file, cannot read it ({error})') from error


@contextmanager
def open_container(
    path: Path, threads: int = 0
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """An open file and its first video, decoded by so many threads (0: as FFmpeg chooses); cover pictures are
    none.

    The path is made absolute, because FFmpeg takes what is before a colon for a protocol; no other protocol
    is allowed, so a playlist that pretends to be a video cannot reach the network.
    """
    options = dict(protocol_whitelist='file')
    with av.open(str(Path(path).absolute()), options=options, metadata_errors='replace') as container:
        streams = [
            stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic
        ]
        if not streams:
            raise ValueError(f'{path}: expected a video file, it has no video')
        context = streams[0].codec_context
        if context is None:
            raise ValueError(f'{path}: expected a video file, its codec is unknown')
        if {*container.format.name.split(',')} & {*LISTS} or context.name in TEXT:
            raise ValueError(f'{path}: expected a video file, it holds text ({container.format.name})')
        if context.width * context.height > 2 * (Image.MAX_IMAGE_PIXELS or np.inf):
            raise ValueError(f'{path}: {context.width} x {context.height} pixels are too many to decode')
        context.thread_count = threads
        yield container, streams[0]


def decode(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """All frames that can be decoded from here on; packets that cannot are left out."""
    for packet in _packets(container, stream):
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            continue
        yield from frames


def _packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet | None]:
    """All packets, the last one empty (or None where the file breaks off): it makes the decoder give what it
    holds."""
    try:
        yield from container.demux(stream)
    except av.FFmpegError:
        yield None


def upright(frame: av.VideoFrame, path: Path, reformatter: VideoReformatter) -> np.ndarray:
    """A frame (H, W, 3) uint8 RGB, turned and mirrored as its display matrix says.

    The matrix maps the pixel (x, y) to (a x + c y, b x + d y). ``reformatter`` converts all frames of a file:
    it is costly to make, and its threads cost more than they save.

    Raises:
        ValueError: The matrix turns by a part of a quarter.
    """
    picture = reformatter.reformat(frame, format='rgb24', threads=1).to_ndarray()
    try:
        data = frame.side_data.get(Type.DISPLAYMATRIX)
    except ValueError:  # beside data of a type that PyAV does not know, such as EXIF
        return np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90)))
    if data is None:
        return picture
    (a, b, _), (c, d, _), _ = np.frombuffer(bytes(data), np.int32).reshape(3, 3).tolist()
    if a and d and abs(b) + abs(c) < 0.01 * (abs(a) + abs(d)):
        return np.ascontiguousarray(picture[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1])
    if b and c and abs(a) + abs(d) < 0.01 * (abs(b) + abs(c)):
        turned = picture.transpose(1, 0, 2)
        return np.ascontiguousarray(turned[:: 1 if b > 0 else -1, :: 1 if c > 0 else -1])
    if not (a or b or c or d):
        return picture
    raise ValueError(f'{path}: turned by a part of a quarter (display matrix), expected quarter turns')


def _from_packets(path: Path) -> FrameIndex | None:
    """The index by times, or None where they cannot be relied on."""
    with open_container(path) as (container, stream):
        is_reliable = set(RELIABLE) & set(container.format.name.split(','))
        if not is_reliable or stream.codec_context.name in HIDDEN:
            return None
        rate, time_base = stream.average_rate, stream.time_base
        packets = [packet for packet in _packets(container, stream) if packet is not None and packet.size]
        shown = [packet.pts for packet in packets if not packet.is_discard]
        if None in shown or len(set(shown)) < len(shown) or any(packet.is_corrupt for packet in packets):
            return None
        if not shown or not packets[0].is_keyframe:
            return None
        times = sorted(shown)
        keys = sorted(
            (bisect_left(times, packet.pts), packet.pts)
            for packet in packets
            if packet.is_keyframe and packet.pts is not None
        )
    size = _check_ends(path, times, keys[-1][1])
    return size and FrameIndex(size, rate, times, keys, by_content=False, time_base=time_base)


def _check_ends(path: Path, times: list[int], last_key: int) -> tuple[int, int] | None:
    """(H, W) of the first frame if it and the frames from the last key frame on are those of ``times``."""
    with open_container(path) as (container, stream):
        first = next(decode(container, stream), None)
        if first is None or first.pts != times[0]:
            return None
        size = upright(first, path, VideoReformatter()).shape[:2]
        container.seek(last_key, stream=stream)
        found = [frame.pts for frame in decode(container, stream)]
    found = [time for time in found if time is not None and time >= last_key]
    return size if found == times[bisect_left(times, last_key) :] else None


def _without_damage(path: Path, index: FrameIndex) -> FrameIndex:
    """The index by times with only those frames that can be decoded, in the order in which the decoder gives
    them: behind damage that may differ from the order of their times."""
    known, times, is_whole = set(index.frames), [], True
    with open_container(path) as (container, stream):
        for frame in _of_one_size(decode(container, stream), path):
            is_whole &= not frame.is_corrupt
            if frame.pts in known:
                times.append(frame.pts)
    if len(times) < len(index.frames):
        print_log(
            f'{path}: {len(index.frames) - len(times)} of {len(index.frames)} frames cannot be decoded and '
            'are left out: the file is damaged',
            logger='current',
            level=logging.WARNING,
        )
    is_whole &= len(times) == len(index.frames)
    return replace(index, frames=times, is_whole=is_whole)


def _from_frames(path: Path) -> FrameIndex:
    """The index by content; decodes all."""
    sums, keys, size, is_whole = [], [], None, True
    with open_container(path) as (container, stream):
        rate = stream.average_rate
        for place, frame in enumerate(_of_one_size(decode(container, stream), path)):
            is_whole &= not frame.is_corrupt
            size = size or upright(frame, path, VideoReformatter()).shape[:2]
            if frame.key_frame and frame.pts is not None:
                keys.append((place, frame.pts))
            sums.append(_checksum(frame))
    if size is None:
        raise ValueError(f'{path}: expected a video file, it has no frames that can be decoded')
    return FrameIndex(size, rate, sums, keys, by_content=True, is_whole=is_whole)


def _of_one_size(frames: Iterable[av.VideoFrame], path: Path) -> Iterator[av.VideoFrame]:
    """The frames; raises a ValueError where the size changes."""
    first = None
    for place, frame in enumerate(frames):
        size = frame.height, frame.width
        first = first or size
        if size != first:
            raise ValueError(
                f'{path}: frame {place} has size {size} (H, W), those before have {first}: expected one '
                'size, encode it anew (ffmpeg -i VIDEO NEW.mp4)'
            )
        yield frame


def _checksum(frame: av.VideoFrame) -> int:
    """A number by which a frame is recognised: of its pixels as they are stored, without what pads rows."""
    total = 0
    bits = max(component.bits for component in frame.format.components)
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8)[: plane.height * plane.line_size].reshape(plane.height, -1)
        used = frame.format.padded_bits_per_pixel if len(frame.planes) == 1 else -(-bits // 8) * 8
        total = zlib.crc32(np.ascontiguousarray(rows[:, : max(1, plane.width * used // 8)]), total)
    return total
