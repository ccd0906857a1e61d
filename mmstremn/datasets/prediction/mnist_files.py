"""The public files of Moving MNIST and MNIST."""

import gzip
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from mmstremn.datasets.prediction.sources import FrameSource

IDX_IMAGES = 2051
"""The first four bytes of an IDX file of images, as a big-endian number."""
CHUNK = 1000
"""Frames that are decompressed at once."""
UNREADABLE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile)


class SequenceFile:
    """Grey clips of one length in one file; nothing but a header is read of an .npy, an .npz is decompressed
    to uint8.

    An ``.npy``, or an ``.npz`` of one array, holds (T, N, H, W), like mnist_test_seq.npy; an ``.npz`` with
    ``clips`` and ``input_raw_data`` is laid out as PredRNN's moving-mnist files are: frames (F, 1, H, W) of
    all clips one after the other, and for the N clips' inputs and outputs, (2, N, 2), the first frame and the
    number of frames.

    Attributes:
        num_clips: N.
        num_frames: T.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged or laid out otherwise; the message names it.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(
                f'{path}: no such file, expected the clips of Moving MNIST (.npy or .npz)'
            )
        self._array, self._first = None, None
        try:
            if self.path.suffix == '.npz':
                self._read_npz()
            shape = self._frames().shape
        except UNREADABLE as error:
            raise ValueError(
                f'{path}: expected the clips of Moving MNIST, cannot read them ({error})'
            ) from error
        if self._first is None:
            if len(shape) != 4:
                raise ValueError(f'{path}: an array of shape {shape}, expected (T, N, H, W)')
            self.num_frames, self.num_clips = shape[:2]
        if self._frames().dtype != np.uint8:
            raise ValueError(f'{path}: frames of type {self._frames().dtype}, expected uint8')

    def clip(self, place: int) -> np.ndarray:
        """(T, H, W) uint8, the frames of clip ``place``."""
        frames = self._frames()
        if self._first is None:
            return np.asarray(frames[:, place])
        first = self._first[place]
        return frames[first : first + self.num_frames]

    def _frames(self) -> np.ndarray:
        if self._array is None:
            self._array = np.load(self.path, mmap_mode='r')
        return self._array

    def _read_npz(self) -> None:
        with np.load(self.path) as file:
            names = file.files
            if 'clips' in names:
                clips = file['clips']
                self.num_clips = clips.shape[1]
                self.num_frames = _check_clips(clips)
                self._first = clips[0, :, 0]
        name = 'input_raw_data' if self._first is not None else names[0]
        if self._first is None and len(names) != 1:
            raise ValueError(f'it holds {", ".join(names)}, expected one array, or clips and input_raw_data')
        self._array = read_npz_frames(self.path, name)
        if self._first is not None:
            self._array = self._array.reshape(-1, *self._array.shape[-2:])
            if self._first.max() + self.num_frames > len(self._array):
                raise ValueError(
                    f'clips end at frame {self._first.max() + self.num_frames} of {len(self._array)}'
                )

    def __getstate__(self) -> dict:
        """An .npy is opened again in another process."""
        return self.__dict__ | {'_array': self._array if self.path.suffix == '.npz' else None}


class SequenceClip(FrameSource):
    """One clip of a file."""

    channels = 1

    def __init__(self, file: SequenceFile, place: int, numbers: np.ndarray):
        self.file, self.place, self.numbers = file, place, numbers
        self.name = f'{file.path.stem}_{place:05d}'
        self.path = f'{file.path} (clip {place})'

    def read(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        clip = self.file.clip(self.place)
        return (clip[number] for number in numbers)


def _check_clips(clips: np.ndarray) -> int:
    """T of PredRNN's table of clips, which must be the same for all, with the outputs behind the inputs."""
    if clips.ndim != 3 or clips.shape[::2] != (2, 2):
        raise ValueError(f'clips of shape {clips.shape}, expected (2, N, 2)')
    lengths = clips[0, :, 1] + clips[1, :, 1]
    if (lengths != lengths[0]).any() or (clips[0].sum(axis=1) != clips[1, :, 0]).any():
        raise ValueError('expected clips of one length whose output follows their input')
    return int(lengths[0])


def read_npz_frames(path: Path, name: str) -> np.ndarray:
    """An array of an .npz as uint8, decompressed bit by bit: floats are taken as 0..1 and need no room of
    their own."""
    with zipfile.ZipFile(path) as archive, archive.open(f'{name}.npy') as member:
        version = np.lib.format.read_magic(member)
        read_header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran_order, dtype = read_header(member)
        if fortran_order or dtype.hasobject:
            raise ValueError(f'{name} is no plain array')
        result = np.empty(int(np.prod(shape)), dtype=np.uint8)
        per_chunk = CHUNK * int(np.prod(shape[-2:]))
        for start in range(0, len(result), per_chunk):
            part = result[start : start + per_chunk]
            values = np.frombuffer(_read_exactly(member, len(part) * dtype.itemsize), dtype=dtype)
            part[:] = _as_uint8(values, name)
    return result.reshape(shape)


def _read_exactly(member: IO[bytes], count: int) -> bytes:
    data = member.read(count)
    if len(data) != count:
        raise ValueError('it ends too early')
    return data


def _as_uint8(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind == 'f':
        if not (values.min() >= 0 and values.max() <= 1):
            raise ValueError(f'{name} holds floats outside of 0..1')
        return np.rint(values * 255)
    if values.min() < 0 or values.max() > 255:
        raise ValueError(f'{name} holds numbers outside of 0..255')
    return values


def read_idx_images(path: str | Path) -> np.ndarray:
    """(N, H, W) uint8, the images of an IDX file, gzipped or not.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged or holds something else; the message names it.
    """
    path = Path(path)
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == '.gz' else path.read_bytes()
    except (gzip.BadGzipFile, EOFError) as error:
        raise ValueError(
            f'{path}: expected a gzipped IDX file of images, cannot read it ({error})'
        ) from error
    header = np.frombuffer(data[:16], dtype='>u4')
    if len(header) < 4 or header[0] != IDX_IMAGES or len(data) != 16 + np.prod(header[1:].astype(np.int64)):
        raise ValueError(f'{path}: expected a whole IDX file of images such as train-images-idx3-ubyte')
    return np.frombuffer(data, dtype=np.uint8, offset=16).reshape(header[1:])
