"""Segmenting a video frame by frame: the one inference implementation, used by tests, tools and demos."""

import dataclasses
import operator
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmstremn.memory import MemoryState
from mmstremn.models.key_encoder import decreasing_strides
from mmstremn.models.layers import most_probable
from mmstremn.models.rollout import advance
from mmstremn.models.segmentation.given_masks import GivenMasks, impose
from mmstremn.models.stream_files import (
    SavedStream,
    check_pixels,
    check_that_it_goes_on,
    describe_memory,
    naming,
    number,
    numbers,
    read_stream,
    restore_state,
    write_stream,
)
from mmstremn.structures import GivenIds, read_masks
from mmstremn.structures.masks import MAX_ID
from mmstremn.structures.prompts import INSTEAD

FORMAT = 'mmstremn.stream/1'


class VOSStream:
    """A running video: its memory, its objects and its place in time. Everything that changes is here, not in
    the model.

    Args:
        model: A VOSegmentor.
        seed: For memories that draw at random.
        short_side: Rows (or columns, if fewer) at which this stream is computed; smaller frames are enlarged.
            None: the model's ``short_side``, to which no frame is enlarged.

    Attributes:
        state: The memory's state; None while no object is known.
        object_ids: The user's ids, in the order in which the objects were given.
        size: (H, W) of the frames.
        index: Frames seen so far.
        began: The frame with which the memory's state began.
    """

    def __init__(self, model, seed: int = 0, short_side: int | None = None):
        self.model = model.eval()
        self.seed = operator.index(seed)
        self.short_side = short_side
        self.state: MemoryState | None = None
        self.object_ids: list[int] = []
        self.size: tuple[int, int] | None = None
        self.index = 0
        self.began = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the memory's state."""
        return 0 if self.state is None else self.state.nbytes

    @torch.no_grad()
    def step(self, frame, masks=None, points=None, boxes=None, index: int | None = None) -> Tensor:
        """Segment the next frame.

        Until the first masks all pixels are background, and nothing is computed.

        Args:
            frame: (H, W, 3) uint8 RGB array or tensor.
            masks: None, or an array or tensor, see :func:`~mmstremn.structures.read_masks`, or what that
                returns. The objects that it speaks of are returned exactly where it says:

                - (H, W) integer ids, 255 where void. A new id adds an object, a known id replaces what the
                  model says of that object, and ids that are absent leave their objects alone. An array
                  without any id is an error: it could mean "nothing is annotated" (give None), "nothing is
                  seen" (give a bool mask or planes) or "nothing is to be followed" (call :meth:`remove`).
                - (H, W) bool, nothing but 0 and 255, or floats in 0..1 (at least .5): the only object of the
                  stream, or object 1 if there is none. Nothing but False (or 0.): the object is not in this
                  frame; it is still known and may come back.
                - (1 + O, H, W) one-hot masks or probabilities, the background first, the objects in the
                  order of ``object_ids`` (new ones 1..O if there are none). A known object without a pixel
                  is not in this frame.
            points: By object id: rows (x, y, label) in pixels, label 1 on the object and 0 beside it. Only
                models that are made for it, such as ``Sam2Segmentor``, can use points and boxes. With a mask
                of the same object they refine it.
            boxes: By object id: (x1, y1, x2, y2) in pixels.
            index: The frame that the prompts are meant for, where a caller wants that checked.

        Returns:
            (H, W) uint8 ids on the model's device. Nothing waits for the device until the caller asks for it.

        Raises:
            TypeError: The frame is not uint8, or the masks are neither ids nor bool nor probabilities.
            ValueError: Wrong shapes, a frame of another size than the first, masks without an object, ids
                above 254, a mask of one object where there are several, points or boxes that the model cannot
                use, prompts for another frame than the next. The stream is as it was before.
        """
        return self.ids_of(self.probabilities(frame, masks, points, boxes, index))

    @torch.no_grad()
    def probabilities(self, frame, masks=None, points=None, boxes=None, index: int | None = None) -> Tensor:
        """Segment the next frame, like :meth:`step`, but give (1 + O, H, W) probabilities.

        They are those of the background and of the objects in the order of ``object_ids``; :meth:`ids_of`
        makes ids of them.
        """
        self.refuse(points, boxes, index)
        return self.advance(*self.checked(frame, masks))

    def refuse(self, points, boxes, index: int | None) -> None:
        """Raise a ValueError of points and boxes, and of prompts that are meant for another frame."""
        if points is not None or boxes is not None:
            name = type(self.model).__name__
            raise ValueError(f'{name} cannot use points and boxes: {INSTEAD}')
        self.check_index(index)

    def check_index(self, index: int | None) -> None:
        """Raise a ValueError if prompts are meant for another frame than the next."""
        if index is not None and index != self.index:
            passed = (
                'it has passed, and a memory of fixed size cannot go back: give the correction with the next '
                'frame, or go on from a stream that was saved before it'
                if index < self.index
                else 'it has not come yet'
            )
            raise ValueError(f'prompts for frame {index}: the next is frame {self.index}; {passed}')

    def ids_of(self, probabilities: Tensor) -> Tensor:
        """(H, W) uint8 ids of the most probable of (1 + O, H, W)."""
        table = torch.tensor([0, *self.object_ids], dtype=torch.uint8)
        return table.to(probabilities.device, non_blocking=True)[most_probable(probabilities)]

    def checked(self, frame, masks=None) -> tuple[Tensor, GivenIds | None]:
        """The next frame, (H, W, 3) on the model's device, and what its masks mean; raises what :meth:`step`
        does of them."""
        frame = self._checked_frame(frame)
        if masks is None:
            return frame, None
        name = f'masks of frame {self.index}'
        return frame, read_masks(masks, tuple(frame.shape[:2]), self.object_ids, name)

    @torch.no_grad()
    def advance(self, frame: Tensor, given: GivenIds | None) -> Tensor:
        """The probabilities of the next frame, of which :meth:`checked` has made ``frame`` and ``given``."""
        size = self.size = frame.shape[0], frame.shape[1]
        new_ids = [] if given is None else [i for i in given.objects if i not in self.object_ids]
        object_ids = [*self.object_ids, *new_ids]
        if not object_ids:
            self.index += 1
            return torch.ones(1, *size, device=frame.device)
        inner = self._inner_size()
        masks = None if given is None else self._given(given, object_ids, inner)
        began = self.index if self.state is None else self.began
        new = 0 if self.state is None else len(new_ids)
        blank = self.model.data_preprocessor.blank_margins(inner)
        with self.model.autocast():
            features = self.model.encode_frame(self._prepare(frame)[0])
            features = dataclasses.replace(features, blank=blank)
            output, self.state = advance(self.model, self.state, features, masks, new, seeds=(self.seed,))
        self.object_ids, self.began, self.index = object_ids, began, self.index + 1
        probabilities = self._to_probabilities(output.logits, inner)
        return probabilities if given is None else impose(probabilities, given, object_ids)

    def remove(self, ids: int | Iterable[int]) -> None:
        """End objects: the memory forgets them, and their ids may be given anew.

        Args:
            ids: One id or several. If no object is left the memory begins anew with the next masks.

        Raises:
            TypeError: An id is no integer.
            ValueError: An object is unknown; none is removed.
        """
        places = self.places_of(ids)
        kept = [i for place, i in enumerate(self.object_ids) if place not in places]
        if not kept:
            self.state = None
        elif places:
            self.state = self.model.memory.remove_objects(self.state, places)
        self.object_ids = kept

    def places_of(self, ids: int | Iterable[int]) -> list[int]:
        """The places of ``ids`` in ``object_ids``, ascending; raises what :meth:`remove` does."""
        given: list = list(ids) if isinstance(ids, Iterable) and not isinstance(ids, (str, bytes)) else [ids]
        try:
            ids = [operator.index(i) for i in given]
        except TypeError:
            raise TypeError(f'remove: expected an integer id or several, got {ids!r}') from None
        unknown = sorted(set(ids) - set(self.object_ids))
        if unknown:
            raise ValueError(f'no object {unknown[0]} in the stream: it has {sorted(self.object_ids)}')
        return sorted({self.object_ids.index(i) for i in ids})

    def save(self, path: str) -> None:
        """Write the stream to a safetensors file, to go on with it later or elsewhere
        (``VOSegmentor.load_stream``). The file is complete or not there at all.

        Raises:
            ValueError: The stream has not begun.
        """
        write_stream(path, FORMAT, self.kind(), self.packed(path))

    def kind(self) -> dict:
        """What a file must agree on with the model that goes on with it."""
        return kind_of(self.model)

    def packed(self, path: str) -> SavedStream:
        """What is saved to ``path``."""
        if not self.index:
            raise ValueError(f"nothing to save in '{path}': the stream has seen no frame")
        about = dict(
            state=None if self.state is None else self.state.plain(),
            object_ids=self.object_ids,
            size=self.size,
            index=self.index,
            began=self.began,
            seed=self.seed,
            short_side=self.short_side,
        )
        return SavedStream(about, {} if self.state is None else self.state.tensors())

    @classmethod
    def load(cls, model, path: str) -> 'VOSStream':
        """Read a saved stream.

        Raises:
            FileNotFoundError: No such file.
            ValueError: The file is no stream, is damaged, or is one of a model whose memory has another type
                or other options, of other widths or another ``short_side``.
        """
        saved = read_stream(path, FORMAT, cls(model).kind(), next(model.parameters()).device)
        with naming(path):
            return cls.unpacked(model, saved)

    @classmethod
    def unpacked(cls, model, saved: SavedStream) -> 'VOSStream':
        """The stream of which :meth:`packed` made ``saved``.

        Raises:
            ValueError: It is not sound.
        """
        about = saved.about
        side = about.get('short_side')
        stream = cls(
            model,
            number(about, 'seed', -(2**63), 2**64),
            None if side is None else number(about, 'short_side', 1, 2**20),
        )
        size = numbers(about, 'size', 1, 2**20)
        object_ids = numbers(about, 'object_ids', 1, MAX_ID)
        if len(size) != 2 or len(set(object_ids)) < len(object_ids):
            raise ValueError(f'expected a size (H, W) and different object_ids, got {size} and {object_ids}')
        check_pixels(*size)
        stream.size, stream.object_ids = (size[0], size[1]), object_ids
        stream.index, stream.began = number(about, 'index', 1), number({'began': 0} | about, 'began')
        if object_ids:
            stream._restore(saved, (size[0], size[1]))
        elif about.get('state') is not None or saved.tensors:
            raise ValueError('object_ids: expected those of the state, got none')
        return stream

    def _restore(self, saved: SavedStream, size: tuple[int, int]) -> None:
        """Take the state of a saved stream, whose other values are here already."""
        frame = torch.zeros((*size, 3), dtype=torch.uint8, device=next(self.model.parameters()).device)
        nowhere: np.ndarray = np.zeros(size, np.uint8)

        def begin(objects: int) -> list[MemoryState]:
            stream, states = type(self)(self.model, self.seed, self.short_side), []
            for given in (GivenIds(nowhere, self.object_ids[:objects]), None):
                stream.advance(frame, given)
                assert stream.state is not None
                states.append(stream.state.clone())
            return states

        frames = self.index - self.began
        self.state = restore_state(saved, len(self.object_ids), frames, self.model.memory, begin)
        if not saved.intact:
            spoken = GivenIds(nowhere, self.object_ids[:1])
            steps = [lambda stream, g=g: stream.advance(frame, g) for g in (None, spoken, None)]
            check_that_it_goes_on(self, steps)

    def _checked_frame(self, frame) -> Tensor:
        """(H, W, 3) on the model's device."""
        if not isinstance(frame, Tensor):
            kind, frame = type(frame).__name__, np.asarray(frame)
            if frame.dtype.kind not in 'biuf':
                raise TypeError(f'frame {self.index} must be uint8 RGB in 0..255, got {frame.dtype} ({kind})')
            frame = torch.as_tensor(np.ascontiguousarray(frame))
        if frame.dtype != torch.uint8:
            raise TypeError(f'frame {self.index} must be uint8 RGB in 0..255, got {frame.dtype}')
        if frame.dim() != 3 or frame.shape[2] != 3 or not frame.numel():
            raise ValueError(f'frame {self.index} must be (H, W, 3), got {tuple(frame.shape)}')
        size = tuple(frame.shape[:2])
        if self.index and self.size != size:
            raise ValueError(f'frame {self.index} is {size}, but the stream began with {self.size} (H, W)')
        return frame.to(next(self.model.parameters()).device, non_blocking=True)

    def _prepare(self, frame: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(1, 3, H', W') normalised and padded, and the size (h, w) before padding at which the model
        computes."""
        image = frame.permute(2, 0, 1)[None].float()
        inner = self._inner_size()
        if inner != self.size:
            image = F.interpolate(image, inner, mode='bilinear', align_corners=False, antialias=True)
        return self.model.data_preprocessor.normalize(image), inner

    def _inner_size(self) -> tuple[int, int]:
        assert self.size is not None
        height, width = self.size
        short = self.short_side or self.model.short_side
        if short is None or (self.short_side is None and min(height, width) <= short):
            return height, width
        scale = min(height, width)
        return round(height * short / scale), round(width * short / scale)

    def _given(self, given: GivenIds, object_ids: list[int], inner: tuple[int, int]) -> GivenMasks:
        """Masks (1, O, H', W') of all objects, and which of them the user speaks of."""
        device = next(self.model.parameters()).device
        ids = torch.as_tensor(given.ids, device=device)[None, None]
        ids = F.interpolate(ids, inner, mode='nearest-exact')
        ids = F.pad(ids, self.model.data_preprocessor.margins(inner))
        planes = torch.cat([ids == i for i in object_ids], 1)
        return GivenMasks(
            planes, None if self.state is None else [object_ids.index(i) for i in given.objects]
        )

    def _to_probabilities(self, logits: Tensor, inner: tuple[int, int]) -> Tensor:
        """(1 + O, H, W) at the size of the frame."""
        left, _, top, _ = self.model.data_preprocessor.margins(inner)
        probabilities = logits.float().softmax(1)[..., top : top + inner[0], left : left + inner[1]]
        if inner != self.size:
            probabilities = F.interpolate(probabilities, self.size, mode='bilinear', align_corners=False)
        return probabilities[0]


def kind_of(model, variants: list[tuple[int | None, bool]] | None = None) -> dict:
    """What a file must agree on with the model that goes on with it.

    Args:
        model: A VOSegmentor.
        variants: (short_side, flip) of each stream of a :class:`~mmstremn.models.MergedStream`; None: of a
            plain stream.
    """
    test_time = None if variants is None else [dict(short_side=short, flip=flip) for short, flip in variants]
    return dict(
        memory=type(model.memory).__name__,
        per_object_key=model.memory.per_object_key,
        needs_selection=model.memory.needs_selection,
        stride=decreasing_strides(model.key_encoder.backbone)[0],
        key_channels=model.key_encoder.key.out_channels,
        value_channels=model.value_encoder.value_channels,
        test_time=test_time,
        short_side=model.short_side,
        options=describe_memory(model.memory),
    )
