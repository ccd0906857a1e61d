"""One video segmented in several variants at once (mirrored, at several sizes), whose probabilities are
averaged."""

import numpy as np
import torch
from torch import Tensor

from mmstremn.models.segmentation.stream import VOSStream, ids_in, read_stream, write_stream

KEYS = ('flip', 'short_sides')


def variants_of(test_time: dict) -> list[tuple[int | None, bool]]:
    """(short_side, flip) of every variant, not mirrored first; a short side of None is the model's own.

    Args:
        test_time: ``flip`` (bool: each size also mirrored; False by default) and ``short_sides`` (a list of
            pixels, or None: one size, the model's). At least one of them.

    Raises:
        ValueError: No dict, an unknown key, or a value that is none of these.
    """
    if not isinstance(test_time, dict) or not test_time:
        raise ValueError(f'test_time must be None or a dict with {" or ".join(KEYS)}, got {test_time!r}')
    for key in test_time:
        if key not in KEYS:
            raise ValueError(f"test_time has an unknown key '{key}': expected {' or '.join(KEYS)}")
    flip, sides = test_time.get('flip', False), test_time.get('short_sides')
    if not isinstance(flip, bool):
        raise ValueError(f'test_time.flip must be True or False, got {flip!r}')
    if sides is not None and not _are_sizes(sides):
        raise ValueError(
            'test_time.short_sides must be None or a list of different positive numbers of pixels, such as '
            '(480, 600), '
            f'got {sides!r}'
        )
    mirrored = (False, True) if flip else (False,)
    return [(side, mirror) for mirror in mirrored for side in sides or [None]]


def _are_sizes(sides) -> bool:
    if not isinstance(sides, (list, tuple)) or not sides or len(set(map(str, sides))) < len(sides):
        return False
    return all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides)


class MergedStream:
    """A running video in the variants of ``model.test_time``; it is used like a :class:`VOSStream`.

    Each variant is a stream with a memory of its own, which sees its own predictions alone. After each frame
    their probabilities, at the size of the frame and mirrored back, are averaged before the arg-max; only the
    sum is held. XMem's ``merge_multi_scale.py`` averages the same of whole videos, from files. Time and
    memory are those of the variants together.

    Attributes:
        variants: (short_side, flip) of each stream.
        streams: One :class:`VOSStream` each.
    """

    def __init__(self, model, seed: int = 0):
        self.model = model
        self.variants = variants_of(model.test_time)
        self.streams = [VOSStream(model, seed, short_side) for short_side, _ in self.variants]

    @property
    def state(self):
        """The state of the first variant's memory."""
        return self.streams[0].state

    @property
    def nbytes(self) -> int:
        """Bytes of the states of all variants."""
        return sum(stream.nbytes for stream in self.streams)

    @property
    def object_ids(self) -> list[int]:
        """The user's ids, in the order in which the objects were given."""
        return self.streams[0].object_ids

    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) of the frames."""
        return self.streams[0].size

    @property
    def index(self) -> int:
        """Frames seen so far."""
        return self.streams[0].index

    @property
    def seed(self) -> int:
        """That of every variant."""
        return self.streams[0].seed

    @torch.no_grad()
    def step(self, frame, masks=None) -> Tensor:
        """Segment the next frame, see :meth:`VOSStream.step`.

        Objects of which ``masks`` speak are exactly where it says, whatever the sizes of the variants.
        """
        frame, masks = self.streams[0].checked(frame, masks)
        ids = self.streams[0].ids_of(self._mean(frame, masks))
        return ids if masks is None else self._with_given(ids, masks)

    @torch.no_grad()
    def probabilities(self, frame, masks=None) -> Tensor:
        """Segment the next frame, but give the mean (1 + O, H, W) of the variants, see
        :meth:`VOSStream.probabilities`."""
        return self._mean(*self.streams[0].checked(frame, masks))

    def save(self, path: str) -> None:
        """Write the streams of all variants to one safetensors file.

        Raises:
            ValueError: The stream has not begun.
        """
        packed = [stream.packed(path) for stream in self.streams]
        tensors = {f'{place}.{name}': t for place, (_, own) in enumerate(packed) for name, t in own.items()}
        write_stream(path, self.model, dict(streams=[about for about, _ in packed]), tensors, self.variants)

    @classmethod
    def load(cls, model, path: str) -> 'MergedStream':
        """Read a saved stream.

        Raises:
            FileNotFoundError: No such file.
            ValueError: The file is no stream, or one of another memory, of other widths or of another
                ``test_time``.
        """
        merged = cls(model)
        about, tensors = read_stream(path, model, merged.variants)
        owned = [{} for _ in merged.variants]
        for name, tensor in tensors.items():
            place, _, field = name.partition('.')
            owned[int(place)][field] = tensor
        merged.streams = [
            VOSStream.unpacked(model, *own) for own in zip(about['streams'], owned, strict=True)
        ]
        return merged

    def _mean(self, frame: Tensor, masks: np.ndarray | None) -> Tensor:
        """(1 + O, H, W)."""
        mirrored = None if masks is None else np.ascontiguousarray(masks[:, ::-1])
        total = 0
        for stream, (_, flip) in zip(self.streams, self.variants, strict=True):
            if flip:
                total = total + stream.probabilities(frame.flip(1), mirrored).flip(-1)
            else:
                total = total + stream.probabilities(frame, masks)
        return total / len(self.streams)

    def _with_given(self, ids: Tensor, masks: np.ndarray) -> Tensor:
        """``ids`` (H, W), in which the objects of ``masks`` are where these say and nowhere else."""
        given = ids_in(masks)
        spoken = torch.as_tensor(
            np.where(np.isin(masks, given), masks, 0).astype(np.uint8), device=ids.device
        )
        wrong = torch.isin(ids, torch.tensor(given, dtype=torch.uint8, device=ids.device))
        return torch.where((spoken > 0) | wrong, spoken, ids)
