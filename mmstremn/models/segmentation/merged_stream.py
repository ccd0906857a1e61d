"""One video segmented in several variants at once (mirrored, at several sizes), whose probabilities are
averaged."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from mmstremn.models.segmentation.given_masks import impose
from mmstremn.models.segmentation.stream import FORMAT, VOSStream, kind_of
from mmstremn.models.stream_files import SavedStream, naming, read_stream, write_stream
from mmstremn.structures import GivenIds

KEYS = ('flip', 'short_sides')
SHARED = ('size', 'index', 'began', 'object_ids', 'seed')


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
    def began(self) -> int:
        """The frame with which the memories' states began."""
        return self.streams[0].began

    @property
    def seed(self) -> int:
        """That of every variant."""
        return self.streams[0].seed

    @torch.no_grad()
    def step(self, frame, masks=None, points=None, boxes=None, index: int | None = None) -> Tensor:
        """Segment the next frame, see :meth:`VOSStream.step`."""
        return self.streams[0].ids_of(self.probabilities(frame, masks, points, boxes, index))

    @torch.no_grad()
    def probabilities(self, frame, masks=None, points=None, boxes=None, index: int | None = None) -> Tensor:
        """Segment the next frame, but give the mean (1 + O, H, W) of the variants, see
        :meth:`VOSStream.probabilities`.

        Objects of which ``masks`` speak are exactly where it says, whatever the sizes of the variants.
        """
        self.streams[0].refuse(points, boxes, index)
        frame, given = self.streams[0].checked(frame, masks)
        mean = self._mean(frame, given)
        return mean if given is None else impose(mean, given, self.object_ids)

    def ids_of(self, probabilities: Tensor) -> Tensor:
        """(H, W) uint8 ids of the most probable of (1 + O, H, W)."""
        return self.streams[0].ids_of(probabilities)

    def remove(self, ids: int | Iterable[int]) -> None:
        """End objects in every variant, see :meth:`VOSStream.remove`."""
        ids = [self.object_ids[place] for place in self.streams[0].places_of(ids)]
        for stream in self.streams:
            stream.remove(ids)

    def save(self, path: str) -> None:
        """Write the streams of all variants to one safetensors file.

        Raises:
            ValueError: The stream has not begun.
        """
        packed = [stream.packed(path) for stream in self.streams]
        tensors = {
            f'{place}.{name}': t for place, own in enumerate(packed) for name, t in own.tensors.items()
        }
        saved = SavedStream(dict(streams=[own.about for own in packed]), tensors)
        write_stream(path, FORMAT, kind_of(self.model, self.variants), saved)

    @classmethod
    def load(cls, model, path: str) -> 'MergedStream':
        """Read a saved stream.

        Raises:
            FileNotFoundError: No such file.
            ValueError: The file is no stream, is damaged, or is one of a model that differs, see
                :meth:`VOSStream.load`, or of another ``test_time``.
        """
        merged = cls(model)
        saved = read_stream(path, FORMAT, kind_of(model, merged.variants), next(model.parameters()).device)
        with naming(path):
            merged.streams = _unpacked(model, saved, merged.variants)
        return merged

    def _mean(self, frame: Tensor, given: GivenIds | None) -> Tensor:
        """(1 + O, H, W)."""
        total = torch.zeros((), device=frame.device)
        for stream, (_, flip) in zip(self.streams, self.variants, strict=True):
            if flip:
                total = total + stream.advance(frame.flip(1), mirrored(given)).flip(-1)
            else:
                total = total + stream.advance(frame, given)
        return total / len(self.streams)


def mirrored(given: GivenIds | None) -> GivenIds | None:
    """What is said of the mirrored frame."""
    return None if given is None else GivenIds(np.ascontiguousarray(given.ids[:, ::-1]), given.objects)


def _unpacked(model, saved: SavedStream, variants: list[tuple[int | None, bool]]) -> list[VOSStream]:
    """The stream of each variant.

    Raises:
        ValueError: One is not sound, or they do not belong together.
    """
    abouts = saved.about.get('streams')
    if not isinstance(abouts, list) or len(abouts) != len(variants):
        raise ValueError(f'streams: expected a list of {len(variants)}')
    owned: list[dict[str, Tensor]] = [{} for _ in variants]
    for name, tensor in saved.tensors.items():
        place, _, field = name.partition('.')
        owned[int(place)][field] = tensor
    streams = [
        VOSStream.unpacked(model, SavedStream(about, tensors, saved.intact))
        for about, tensors in zip(abouts, owned, strict=True)
    ]
    for stream, (short_side, _) in zip(streams, variants, strict=True):
        wanted = [*(getattr(streams[0], name) for name in SHARED), short_side]
        if [*(getattr(stream, name) for name in SHARED), stream.short_side] != wanted:
            raise ValueError(f'streams: expected the same {", ".join(SHARED)} in all of them')
    return streams
