"""Frames of video files: any order gives what reading from the start gives, for every container and codec."""

import contextlib
import pickle
import random

import av
import numpy as np
import pytest
from helpers.video_files import SIZE, decoded, ramp, set_display_matrix, write, write_silence
from PIL import Image

from mmstremn.datasets import VideoFile, open_video
from mmstremn.datasets.prediction.sources import VideoFrames

KINDS = [
    ('a.mp4', 'libx264', 2),
    ('a.mov', 'mpeg4', 2),
    ('a.mkv', 'libx264', 2),
    ('b.mkv', 'mpeg2video', 2),
    ('c.mkv', 'ffv1', 0),
    ('a.webm', 'libvpx', 0),
    ('b.webm', 'libvpx-vp9', 0),
    ('a.avi', 'mpeg4', 2),
    ('b.avi', 'libx264', 2),
    ('c.avi', 'mjpeg', 0),
    ('a.mpg', 'mpeg2video', 2),
    ('b.mpeg', 'mpeg1video', 0),
    ('a.m4v', 'mpeg4', 2),
    ('a.ts', 'libx264', 2),
    ('b.ts', 'mpeg2video', 2),
    ('a.flv', 'flv', 0),
    ('b.flv', 'libx264', 2),
    ('a.gif', 'gif', 0),
    ('a.wmv', 'wmv2', 0),
]


def check_access(path, truth):
    """Sequential and random access agree with what FFmpeg decodes."""
    video = VideoFile(path)
    assert (video.num_frames, video.size) == (len(truth), truth[0].shape[:2])
    order = list(range(len(truth)))
    for index in order:
        assert np.array_equal(video.frame(index), truth[index]), index
    random.Random(0).shuffle(order)
    for index in order[:16]:
        assert np.array_equal(video.frame(index), truth[index]), index
        if index + 1 < len(truth):
            assert np.array_equal(video.frame(index + 1), truth[index + 1]), index + 1
    again = pickle.loads(pickle.dumps(video))
    assert np.array_equal(again.frame(len(truth) // 2), truth[len(truth) // 2])
    return video


@pytest.mark.parametrize(('name', 'codec', 'b_frames'), KINDS)
def test_any_order_gives_the_same_frames(tmp_path, name, codec, b_frames):
    path = write(tmp_path / name, codec, b_frames=b_frames)
    truth = decoded(path)
    assert len(truth) == 40
    check_access(path, truth)


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv', 'a.ts', 'a.avi'])
def test_variable_rate(tmp_path, name):
    times = [index * index // 8 + index for index in range(24)]
    path = write(
        tmp_path / name, 'libx264' if name != 'a.avi' else 'mpeg4', frames=24, times=times, b_frames=2
    )
    check_access(path, decoded(path))
    seconds = open_video(path).seconds
    if name in ('a.ts', 'a.avi'):
        assert seconds is None
    else:
        assert np.allclose(seconds, np.array(times) / 25, atol=1e-3)


@pytest.mark.parametrize(
    ('name', 'codec'), [('a.mp4', 'libx264'), ('a.mpg', 'mpeg2video'), ('a.ts', 'libx264')]
)
def test_sound_beside(tmp_path, name, codec):
    path = write(tmp_path / name, codec, b_frames=2, audio=True)
    truth = decoded(path)
    assert len(truth) == 40
    check_access(path, truth)


@pytest.mark.parametrize('name', ['a.avi', 'a.ts', 'a.mp4'])
def test_frames_that_look_alike(tmp_path, name):
    codec = 'libx264' if name == 'a.ts' else 'mpeg4'
    path = write(tmp_path / name, codec, make=lambda index: ramp(index // 7 % 3), b_frames=2)
    check_access(path, decoded(path))


def remux(source, target, keep, **options):
    """Copy those packets that ``keep`` (of place and packet) lets through."""
    with av.open(str(source)) as old, av.open(str(target), 'w', options=options) as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for place, packet in enumerate(old.demux(stream)):
            if packet.size and keep(place, packet):
                packet.stream = copy
                new.mux(packet)
    return target


@pytest.mark.parametrize(
    ('name', 'codec'),
    [
        ('a.ts', 'libx264'),
        ('b.ts', 'mpeg2video'),
        ('a.mpg', 'mpeg2video'),
        ('a.avi', 'mpeg4'),
        ('a.mkv', 'libx264'),
    ],
)
def test_a_recording_that_starts_between_key_frames(tmp_path, name, codec):
    whole = write(tmp_path / name, codec, b_frames=2)
    cut = remux(whole, tmp_path / f'cut{whole.suffix}', lambda place, _: place >= 4)
    truth = decoded(cut)
    assert 20 < len(truth) < 40
    check_access(cut, truth)


@pytest.mark.parametrize(('name', 'codec', 'b_frames'), KINDS)
@pytest.mark.parametrize('share', [0.97, 0.8])
def test_a_file_that_breaks_off(tmp_path, name, codec, b_frames, share):
    path = write(tmp_path / name, codec, b_frames=b_frames)
    if path.suffix in ('.mp4', '.mov', '.m4v'):
        path = remux(path, tmp_path / f'fast{path.suffix}', lambda *_: True, movflags='faststart')
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    truth = decoded(path)
    video = VideoFile(path)
    assert video.num_frames >= len(truth) > 10
    frames = [video.frame(index) for index in range(video.num_frames)]
    for index in range(len(truth) - 1):  # the last one may be half a picture and half what was in memory
        assert np.array_equal(frames[index], truth[index]), index
    for index in random.Random(1).sample(range(video.num_frames - 1), 8):
        assert np.array_equal(video.frame(index), frames[index])


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv'])
def test_damage_in_the_middle_is_left_out_or_named(tmp_path, name, monkeypatch):
    said = []  # loggers of other tests may write elsewhere
    monkeypatch.setattr('mmstremn.datasets.io.video_index.print_log', lambda text, **_: said.append(text))
    path = write(tmp_path / name, 'libx264', b_frames=2)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        for packet in packets[14:17]:
            place = data.find(bytes(packet)[4:])
            data[place : place + packet.size - 4] = b'\xff' * (packet.size - 4)
    path.write_bytes(data)
    truth = {frame.pts: frame for frame in decoded_frames(path)}
    video = open_video(path)
    assert 10 < video.num_frames == len(truth) < 40
    assert f'{40 - len(truth)} of 40 frames cannot be decoded' in said[0]
    pictures = [frame.to_ndarray(format='rgb24') for frame in truth.values()]
    for index in [*range(len(pictures)), 20, 3, 30]:
        assert np.array_equal(video.frame(index), pictures[index]), index
    unchecked = VideoFile(path)
    with pytest.raises(ValueError, match=r'cannot decode frame .*damaged'):
        [unchecked.frame(index) for index in range(unchecked.num_frames)]


@pytest.mark.parametrize(('name', 'codec'), [('a.mp4', 'libx264'), ('a.mkv', 'libx264')])
def test_damaged_frames_are_the_same_in_any_order(tmp_path, name, codec):
    """The decoder fills them from those before."""
    path = write(tmp_path / name, codec, b_frames=2)
    data = bytearray(path.read_bytes())
    for place in random.Random(0).sample(range(len(data) // 3, len(data) * 9 // 10), 4):
        data[place] ^= 0xFF
    path.write_bytes(data)
    video, other = open_video(path), open_video(path)
    assert video.num_frames > 10
    frames = [video.frame(index) for index in range(video.num_frames)]
    for index in random.Random(1).sample(range(video.num_frames), 10):
        assert np.array_equal(other.frame(index), frames[index]), index


def test_a_format_that_cannot_be_entered_in_between(tmp_path):
    path = write(tmp_path / 'raw.m4v', 'mpeg4', b_frames=2, container_format='m4v')
    with av.open(str(path)) as container, pytest.raises(av.FFmpegError):
        container.seek(10, stream=container.streams.video[0])
    assert check_access(path, decoded(path)).num_frames == 40


def test_a_change_of_size_is_said_before_any_work(tmp_path):
    parts = [
        write(tmp_path / f'{side}.ts', 'libx264', frames=4, make=lambda k, size=(side, 64): ramp(k, size))
        for side in (48, 96)
    ]
    (tmp_path / 'both.ts').write_bytes(b''.join(part.read_bytes() for part in parts))
    with pytest.raises(ValueError, match=r'both\.ts: frame 4 has size .*expected one size'):
        open_video(tmp_path / 'both.ts')


def test_exif_of_the_frames_of_a_camera(tmp_path):
    """FFmpeg gives it as data beside each frame, of a type that PyAV does not know."""
    exif = Image.Exif()
    exif[0x010F] = 'camera'
    Image.fromarray(ramp(3)).save(tmp_path / 'a.jpg', exif=exif, quality=95)
    video = open_video(tmp_path / 'a.jpg')
    assert video.num_frames == 1 and np.abs(video.frame(0).astype(int) - ramp(3)).mean() < 8


@pytest.mark.parametrize('name', ['list.txt', 'list.mp4'])
def test_text_is_no_video(tmp_path, name):
    write(tmp_path / 'v.mp4', 'libx264', frames=2)
    text = 'ffconcat version 1.0\nfile v.mp4\n' if name == 'list.mp4' else 'hello\nworld\n' * 50
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf'{name}: expected a video file, it holds text'):
        open_video(tmp_path / name)


def test_the_pages_of_a_tiff_are_no_video(tmp_path):
    pages = [Image.fromarray(ramp(k)) for k in range(3)]
    pages[0].save(tmp_path / 'a.tif', save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match=r'a\.tif: holds 3 pictures'):
        open_video(tmp_path / 'a.tif')


def decoded_frames(path):
    """The frames of all packets that decode."""
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            with contextlib.suppress(av.FFmpegError):
                yield from packet.decode()


def test_edit_lists_hide_frames(tmp_path):
    """A cut without encoding: the packets before the cut stay in the file, and are not shown."""
    path = write(tmp_path / 'a.mp4', 'libx264', b_frames=0)
    data = bytearray(path.read_bytes())
    place = data.find(b'elst') + 4
    assert data[place] == 0 and int.from_bytes(data[place + 4 : place + 8], 'big') == 1
    length = int.from_bytes(data[place + 8 : place + 12], 'big')
    data[place + 8 : place + 12] = (length * 3 // 4).to_bytes(4, 'big')
    with av.open(str(path)) as container:
        units = container.streams.video[0].time_base.denominator
    data[place + 12 : place + 16] = (units * 10 // 25).to_bytes(4, 'big')
    path.write_bytes(data)
    truth = decoded(path)
    assert len(truth) == 30 and abs(int(truth[0][40, 0, 0]) - 50) < 8
    check_access(path, truth)


def test_files_without_frames(tmp_path):
    for name in ('a.mp4', 'a.avi', 'a.ts'):
        path = write(tmp_path / name, 'mpeg4' if name != 'a.ts' else 'libx264', frames=2)
        path.write_bytes(path.read_bytes()[:300])
        with pytest.raises(ValueError, match=f'{name}.*expected a video file'):
            VideoFile(path)
    sound = tmp_path / 'sound.mp4'
    with av.open(str(sound), 'w') as container:
        write_silence(container, container.add_stream('aac', rate=48000))
    with pytest.raises(ValueError, match=r'sound\.mp4.*expected a video file'):
        VideoFile(sound)


def test_a_cover_picture_is_no_video(tmp_path):
    path = tmp_path / 'a.mkv'
    write(path, 'libx264')
    with av.open(str(path)) as old, av.open(str(tmp_path / 'b.mp4'), 'w') as new:
        cover = new.add_stream('mjpeg', rate=1)
        cover.height, cover.width, cover.pix_fmt = 32, 32, 'yuvj420p'
        cover.disposition = av.stream.Disposition.attached_pic
        copy = new.add_stream_from_template(old.streams.video[0])
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format='rgb24')
        new.mux(cover.encode(picture))
        new.mux(cover.encode())
        for packet in old.demux(old.streams.video[0]):
            if packet.size:
                packet.stream = copy
                new.mux(packet)
    video = VideoFile(tmp_path / 'b.mp4')
    assert (video.num_frames, video.size) == (40, SIZE)


# Orientation: what (H, W, 3) looks like to a viewer

TURNS = {
    (1, 0, 0, 1): lambda x: x,
    (-1, 0, 0, 1): lambda x: x[:, ::-1],
    (1, 0, 0, -1): lambda x: x[::-1],
    (-1, 0, 0, -1): lambda x: x[::-1, ::-1],
    (0, 1, 1, 0): lambda x: x.transpose(1, 0, 2),
    (0, 1, -1, 0): lambda x: np.rot90(x, -1),
    (0, -1, 1, 0): lambda x: np.rot90(x, 1),
    (0, -1, -1, 0): lambda x: x[::-1, ::-1].transpose(1, 0, 2),
}


@pytest.mark.parametrize('matrix', list(TURNS))
def test_display_matrices(tmp_path, matrix):
    path = write(tmp_path / 'a.mp4', 'libx264', frames=12, b_frames=2)
    stored = decoded(path)
    set_display_matrix(path, *matrix)
    video = VideoFile(path)
    shown = [TURNS[matrix](frame) for frame in stored]
    assert video.size == shown[0].shape[:2]
    assert np.array_equal(video.frame(7), shown[7]) and np.array_equal(video.frame(0), shown[0])
    clip = np.stack(list(VideoFrames(path, 'a').read(range(3, 6))))
    assert np.array_equal(clip, np.stack(shown[3:6]))


def test_the_display_matrix_agrees_with_pyav(tmp_path):
    path = write(tmp_path / 'a.mp4', 'libx264', frames=3)
    set_display_matrix(path, 0, 1, -1, 0)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert np.array_equal(
            VideoFile(path).frame(0), np.rot90(frame.to_ndarray(format='rgb24'), frame.rotation // 90)
        )


def test_a_crooked_display_matrix_is_refused(tmp_path):
    path = write(tmp_path / 'a.mp4', 'libx264', frames=3)
    set_display_matrix(path, 1, 1, -1, 1)
    with pytest.raises(ValueError, match=r'a\.mp4.*part of a quarter'):
        VideoFile(path)


# Names


@pytest.mark.parametrize(
    'name', ['2024-05-01T10:22:33.mp4', 'file:a.mp4', 'a %05d.mp4', 'ünï🎬 x.mp4', '-a.mp4']
)
def test_names_that_mean_something_to_ffmpeg(tmp_path, monkeypatch, name):
    write(tmp_path / 'plain.mp4', 'libx264', frames=3).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    video = open_video(name)
    assert video.num_frames == 3 and video.name == name[:-4]


def test_a_playlist_reaches_no_network(tmp_path):
    (tmp_path / 'a.mp4').write_text('#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n')
    with pytest.raises(ValueError, match='expected a video file'):
        VideoFile(tmp_path / 'a.mp4')
