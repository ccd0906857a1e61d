"""Segmenting a video frame by frame: the one inference implementation, used by tests, tools and demos."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mmstremn.models.encoders import falling_strides
from mmstremn.models.rollout import advance
from mmstremn.models.segmentation.given_masks import GivenMasks
from mmstremn.structures import VOID

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
        state: The memory's state.
        object_ids: The user's ids, in the order in which the objects were given.
        size: (H, W) of the frames.
        index: Frames seen so far.
    """

    def __init__(self, model, seed: int = 0, short_side: int | None = None):
        self.model = model.eval()
        self.seed = seed
        self.short_side = short_side
        self.state = None
        self.object_ids: list[int] = []
        self.size: tuple[int, int] | None = None
        self.index = 0
        self._id_table: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the memory's state."""
        return 0 if self.state is None else self.state.nbytes

    @torch.no_grad()
    def step(self, frame, masks=None) -> Tensor:
        """Segment the next frame.

        Args:
            frame: (H, W, 3) uint8 RGB array or tensor.
            masks: (H, W) integer ids, or None. The first frame needs them. Later a new id adds an object, a
                known id replaces what the model says of that object, and ids that are absent leave their
                objects alone.

        Returns:
            (H, W) uint8 ids on the model's device. Nothing waits for the device until the caller asks for it.

        Raises:
            TypeError: The frame is not uint8 or the masks are not integers.
            ValueError: Wrong shapes, a frame of another size than the first, no object in the first masks,
                ids above 254.
        """
        return self._to_ids(*self._advance(frame, masks))

    @torch.no_grad()
    def probabilities(self, frame, masks=None) -> Tensor:
        """Segment the next frame, like :meth:`step`, but give (1 + O, H, W) probabilities.

        They are those of the background and of the objects in the order of ``object_ids``; :meth:`ids_of`
        makes ids of them.
        """
        return self._to_probabilities(*self._advance(frame, masks))

    def ids_of(self, probabilities: Tensor) -> Tensor:
        """(H, W) uint8 ids of the most probable of (1 + O, H, W)."""
        return self._id_table[probabilities.argmax(0)]

    def checked(self, frame, masks=None) -> tuple[Tensor, np.ndarray | None]:
        """The next frame, (H, W, 3) on the model's device, and its masks (H, W); raises what :meth:`step`
        does of them."""
        frame = self._checked_frame(frame)
        return frame, None if masks is None else self._checked_masks(masks)

    def _advance(self, frame, masks) -> tuple[Tensor, tuple[int, int]]:
        """Logits (1, 1 + O, H', W') of the next frame, padded, and their size (h, w) before padding."""
        frame, masks = self.checked(frame, masks)
        given_ids = [] if masks is None else ids_in(masks)
        if self.state is None and not given_ids:
            raise ValueError(
                'the first frame of a stream needs masks with at least one object (an id in 1..254)'
            )
        new_ids = [i for i in given_ids if i not in self.object_ids]
        if new_ids:
            self.object_ids += new_ids
            self._id_table = torch.tensor([0, *self.object_ids], dtype=torch.uint8, device=frame.device)
        image, inner = self._prepare(frame)
        given = self._given(masks, given_ids, inner) if given_ids else None
        new = len(new_ids) if self.state is not None else 0
        blank = self.model.data_preprocessor.blank_margins(inner)
        features = dataclasses.replace(self.model.encode_frame(image), blank=blank)
        output, self.state = advance(self.model, self.state, features, given, new, seeds=(self.seed,))
        self.index += 1
        return output.logits, inner

    def save(self, path: str) -> None:
        """Write the stream to a safetensors file, to go on with it later or elsewhere
        (``VOSegmentor.load_stream``).

        Raises:
            ValueError: The stream has not begun.
        """
        about, tensors = self.packed(path)
        write_stream(path, self.model, about, tensors)

    def packed(self, path: str) -> tuple[dict, dict[str, Tensor]]:
        """What is saved to ``path``: values that JSON can hold, and tensors by name."""
        if self.state is None:
            raise ValueError(f"nothing to save in '{path}': the stream has seen no frame")
        about = dict(
            state=self.state.plain(),
            object_ids=self.object_ids,
            size=self.size,
            index=self.index,
            seed=self.seed,
            short_side=self.short_side,
        )
        return about, self.state.tensors()

    @classmethod
    def load(cls, model, path: str) -> 'VOSStream':
        """Read a saved stream.

        Raises:
            FileNotFoundError: No such file.
            ValueError: The file is no stream, or one of another memory or of other widths.
        """
        return cls.unpacked(model, *read_stream(path, model))

    @classmethod
    def unpacked(cls, model, about: dict, tensors: dict[str, Tensor]) -> 'VOSStream':
        """The stream of which :meth:`packed` made ``about`` and ``tensors``."""
        plain = {name: tuple(v) if isinstance(v, list) else v for name, v in about['state'].items()}
        stream = cls(model, about['seed'], about.get('short_side'))
        stream.state = model.memory.state_class(**tensors, **plain)
        stream.object_ids, stream.size, stream.index = (
            about['object_ids'],
            tuple(about['size']),
            about['index'],
        )
        device = next(model.parameters()).device
        stream._id_table = torch.tensor([0, *stream.object_ids], dtype=torch.uint8, device=device)
        return stream

    def _checked_frame(self, frame) -> Tensor:
        """(H, W, 3) on the model's device."""
        frame = frame if isinstance(frame, Tensor) else torch.as_tensor(np.ascontiguousarray(frame))
        if frame.dtype != torch.uint8:
            raise TypeError(f'frame {self.index} must be uint8 RGB in 0..255, got {frame.dtype}')
        if frame.dim() != 3 or frame.shape[2] != 3:
            raise ValueError(f'frame {self.index} must be (H, W, 3), got {tuple(frame.shape)}')
        size = tuple(frame.shape[:2])
        if self.index and self.size != size:
            raise ValueError(f'frame {self.index} is {size}, but the stream began with {self.size} (H, W)')
        self.size = size
        return frame.to(next(self.model.parameters()).device, non_blocking=True)

    def _checked_masks(self, masks) -> np.ndarray:
        masks = masks.cpu().numpy() if isinstance(masks, Tensor) else np.asarray(masks)
        if not np.issubdtype(masks.dtype, np.integer):
            raise TypeError(f'masks of frame {self.index} must be integer ids, got {masks.dtype}')
        if masks.shape != self.size:
            raise ValueError(
                f'masks of frame {self.index} are {masks.shape}, expected the size of the frame {self.size}'
            )
        if masks.min() < 0 or masks.max() > VOID:
            raise ValueError(f'masks of frame {self.index} hold ids outside 0..254 (and {VOID} for void)')
        return masks

    def _prepare(self, frame: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(1, 3, H', W') normalised and padded, and the size (h, w) before padding at which the model
        computes."""
        image = frame.permute(2, 0, 1)[None].float()
        inner = self._inner_size()
        if inner != self.size:
            image = F.interpolate(image, inner, mode='bilinear', align_corners=False, antialias=True)
        return self.model.data_preprocessor.normalize(image), inner

    def _inner_size(self) -> tuple[int, int]:
        short = self.short_side or self.model.short_side
        if short is None or (self.short_side is None and min(self.size) <= short):
            return self.size
        return tuple(round(n * short / min(self.size)) for n in self.size)

    def _given(self, masks: np.ndarray, given_ids: list[int], inner: tuple[int, int]) -> GivenMasks:
        """Masks (1, O, H', W') of all objects, and which of them the user speaks of."""
        ids = torch.as_tensor(masks.astype(np.uint8), device=self._id_table.device)[None, None]
        ids = F.interpolate(ids, inner, mode='nearest-exact')
        ids = F.pad(ids, self.model.data_preprocessor.margins(inner))
        planes = torch.cat([ids == i for i in self.object_ids], 1)
        return GivenMasks(planes, [self.object_ids.index(i) for i in given_ids] if self.index else None)

    def _to_ids(self, logits: Tensor, inner: tuple[int, int]) -> Tensor:
        return self.ids_of(self._to_probabilities(logits, inner))

    def _to_probabilities(self, logits: Tensor, inner: tuple[int, int]) -> Tensor:
        """(1 + O, H, W) at the size of the frame."""
        left, _, top, _ = self.model.data_preprocessor.margins(inner)
        probabilities = logits.softmax(1)[..., top : top + inner[0], left : left + inner[1]]
        if inner != self.size:
            probabilities = F.interpolate(probabilities, self.size, mode='bilinear', align_corners=False)
        return probabilities[0]


def ids_in(masks: np.ndarray) -> list[int]:
    """The objects' ids in (H, W) masks, ascending."""
    return [i for i in np.unique(masks).tolist() if i not in (0, VOID)]


def write_stream(
    path: str,
    model,
    about: dict,
    tensors: dict[str, Tensor],
    variants: list[tuple[int | None, bool]] | None = None,
) -> None:
    """Write what a stream is made of to a safetensors file.

    Args:
        path: The file.
        model: That of the stream.
        about: Values that JSON can hold.
        tensors: By name.
        variants: (short_side, flip) of each stream of a :class:`~mmstremn.models.MergedStream`; None: of a
            plain stream.
    """
    about = dict(format=FORMAT, kind=_kind(model, variants), **about)
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, path, {'stream': json.dumps(about)}
    )


def read_stream(
    path: str, model, variants: list[tuple[int | None, bool]] | None = None
) -> tuple[dict, dict[str, Tensor]]:
    """What :func:`write_stream` wrote: ``about``, and the tensors on the model's device.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is no stream, or one of another memory, of other widths or of other variants.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"stream file '{path}' not found")
    try:
        with safe_open(path, 'pt', device=str(next(model.parameters()).device)) as file:
            about = json.loads((file.metadata() or {}).get('stream', '{}'))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"'{path}' is not a stream: expected a safetensors file ({error})") from error
    if about.get('format') != FORMAT:
        raise ValueError(f"'{path}' is not a stream: expected format {FORMAT}, got {about.get('format')}")
    for name, value in _kind(model, variants).items():
        saved = about['kind'].get(name)
        if saved != value:
            raise ValueError(
                f"'{path}' is a stream of a model with {name} {saved}, but this one's is {value}"
            )
    return about, tensors


def _kind(model, variants: list[tuple[int | None, bool]] | None) -> dict:
    """What a file must agree on with the model that goes on with it."""
    return dict(
        memory=type(model.memory).__name__,
        per_object_key=model.memory.per_object_key,
        needs_selection=model.memory.needs_selection,
        stride=falling_strides(model.key_encoder.backbone)[0],
        key_channels=model.key_encoder.key.out_channels,
        value_channels=model.value_encoder.value_channels,
        test_time=None
        if variants is None
        else [dict(short_side=short, flip=flip) for short, flip in variants],
    )
