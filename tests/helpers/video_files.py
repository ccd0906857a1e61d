"""Tiny videos in many containers and codecs, and what FFmpeg decodes of them."""

import contextlib
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

SIZE = (48, 64)
PIXELS = dict(mjpeg='yuvj420p', gif='rgb8')


def ramp(index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H, W, 3) uint8: every frame differs from all others, by its level and by a bright bar that moves."""
    picture = np.full((*size, 3), 20, np.uint8)
    picture[..., 0] = 5 * index % 256
    picture[10:30, index % (size[1] - 10) : index % (size[1] - 10) + 10] = 200
    return picture


def write(
    path: Path,
    codec: str,
    *,
    frames=40,
    make=ramp,
    gop=10,
    b_frames=0,
    times=None,
    audio=False,
    rate=25,
    container_format=None,
):
    """Write a video; ``times`` are presentation times in units of 1 / ``rate`` s, for variable rates."""
    with av.open(str(path), 'w', format=container_format) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = make(0).shape[:2]
        stream.pix_fmt = PIXELS.get(codec, 'yuv420p')
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = gop, b_frames
        sound = container.add_stream('mp2' if path.suffix == '.mpg' else 'aac', rate=48000) if audio else None
        if sound:
            write_silence(container, sound)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(make(index), format='rgb24')
            if times:
                frame.pts, frame.time_base = times[index], Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_silence(container, sound) -> None:
    for start in range(0, 48000, 1152):
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1152), np.float32), format='fltp', layout='stereo')
        silence.rate, silence.pts = 48000, start
        for part in av.AudioResampler(sound.format, 'stereo', 48000).resample(silence):
            container.mux(sound.encode(part))
    container.mux(sound.encode())


def decoded(path: Path) -> list[np.ndarray]:
    """All frames from the first to the last that decodes, by PyAV alone."""
    found, reformatter = [], VideoReformatter()
    with av.open(str(path)) as container, contextlib.suppress(av.FFmpegError):
        for frame in container.decode(video=0):
            found.append(reformatter.reformat(frame, format='rgb24', threads=1).to_ndarray())
    return found


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Write a display matrix into the track header of an mp4: (x, y) is shown at (a x + c y, b x + d y)."""
    data = bytearray(path.read_bytes())
    box = data.find(b'tkhd') + 8
    place = box - 4 + 4 + (32 if data[box - 4] == 1 else 20) + 16
    values = [value % (1 << 16) << 16 for value in (a, b, c, d)]
    data[place : place + 36] = struct.pack(
        '>9I', values[0], values[1], 0, values[2], values[3], 0, 0, 0, 1 << 30
    )
    path.write_bytes(data)
