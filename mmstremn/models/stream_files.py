"""Streams in files: safetensors with a JSON header, checked in full when they are read. Nothing is
pickled."""

import copy
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from mmstremn.memory import Memory, MemoryState
from mmstremn.memory.buffers import birth_groups
from mmstremn.utils.atomic import write_atomically

TRAINING_ONLY = {'training', 'train_slots', 'temperature', 'decoupling'}
LARGEST = 2**53  # integers that JSON readers of every language hold exactly
MOST_PIXELS = 178_956_970  # of a picture that Pillow decodes


@dataclass
class SavedStream:
    """What a stream is made of, as it is in a file.

    Attributes:
        about: Values that JSON can hold.
        tensors: By name.
        intact: A checksum says that both are what was written.
    """

    about: dict
    tensors: dict[str, Tensor]
    intact: bool = False


def describe_memory(memory: Memory) -> dict[str, object]:
    """The type and the options of a memory and its parts, by name; those of training alone are left out."""
    options: dict[str, object] = {}
    for place, part in memory.named_modules(prefix='memory'):
        if type(part).__module__.startswith('torch.'):
            continue
        options[f'{place}.type'] = type(part).__name__
        for name, value in vars(part).items():
            if not name.startswith('_') and name not in TRAINING_ONLY and _is_plain(value):
                options[f'{place}.{name}'] = value
    return options


def _is_plain(value) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def write_stream(path: str, file_format: str, kind: dict, saved: SavedStream) -> None:
    """Write what a stream is made of to a safetensors file: aside, flushed to the disk, then renamed.

    Args:
        path: The file.
        file_format: Name and version of what is written.
        kind: What the model that goes on with it must agree on.
        saved: The stream.

    Raises:
        TypeError: ``path`` is neither a string nor a path.
        IsADirectoryError: ``path`` is a folder.
    """
    path = _path(path)
    about = dict(format=file_format, kind=kind, **saved.about)
    about['sha256'] = _checksum(about, saved.tensors)
    tensors = {name: tensor.contiguous() for name, tensor in saved.tensors.items()}
    write_atomically(path, save(tensors, {'stream': json.dumps(about)}))


def read_stream(path: str, file_format: str, kind: dict, device: torch.device) -> SavedStream:
    """What :func:`write_stream` wrote, with its tensors on ``device``.

    Raises:
        TypeError: ``path`` is neither a string nor a path.
        FileNotFoundError: No such file.
        ValueError: The file is no stream, is damaged, or is a stream of a model of another kind.
    """
    path = _path(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"stream file '{path}' not found")
    about, tensors = _read(path, file_format)
    with naming(path):
        _check_kind(path, about.get('kind'), kind)
        checksum = about.pop('sha256', None)
        intact = checksum is not None
        if intact and checksum != _checksum(about, tensors):
            raise ValueError('it was changed or damaged since it was saved (its checksum differs)')
        for name, tensor in tensors.items():
            if not torch.isfinite(tensor).all():
                raise ValueError(f"tensor '{name}' holds numbers that are not finite")
    return SavedStream(about, {name: tensor.to(device) for name, tensor in tensors.items()}, intact)


def _path(path) -> str:
    try:
        return os.fsdecode(path)
    except TypeError:
        raise TypeError(f'path of a stream: expected a string or a path, got {path!r}') from None


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Whatever the content of a damaged file leads to becomes a ValueError that names the file."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(f"'{path}'"):
            raise
        reason = str(error) if isinstance(error, ValueError) else f'{type(error).__name__}: {error}'
        raise ValueError(f"'{path}' is not a sound stream: {reason}") from error


def _read(path: str, file_format: str) -> tuple[dict, dict[str, Tensor]]:
    try:
        with safe_open(path, 'pt') as file:
            text = (file.metadata() or {}).get('stream', '{}')
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # SafetensorError, and others where the header is damaged
        raise ValueError(f"'{path}' is not a stream: expected a safetensors file ({error})") from error
    try:
        about = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' is not a stream: its header is no JSON ({error})") from error
    found = about.get('format') if isinstance(about, dict) else None
    if found != file_format:
        raise ValueError(f"'{path}' is not a stream: expected format {file_format}, got {found!r}")
    return about, tensors


def _check_kind(path: str, saved, kind: dict) -> None:
    """Options of the memory that only one of the two knows are those of another version, and pass."""
    if not isinstance(saved, dict):
        raise ValueError(f'kind: expected what its model is like, got {saved!r}')
    expected = json.loads(json.dumps(kind))
    options = expected.pop('options')
    pairs = [(name, saved.get(name), value) for name, value in expected.items() if name in saved]
    missing = [name for name in expected if name not in saved and name != 'short_side']
    if missing:
        raise ValueError(f'kind: expected {missing[0]}')
    known = saved.get('options', options)
    for name in sorted({*options, *known}):
        if name.endswith('.type') or (name in options and name in known):
            pairs.append((name, known.get(name), options.get(name)))
    for name, found, value in pairs:
        if found != value:
            raise ValueError(
                f"'{path}' is a stream of a model with {name} {found}, but this one's is {value}"
            )


def _checksum(about: dict, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].cpu().contiguous()
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def number(about: dict, name: str, lowest: int = 0, highest: int = LARGEST) -> int:
    """An integer of a header.

    Raises:
        ValueError: It is missing, no integer or out of range.
    """
    value = about.get(name)
    if type(value) is not int or not lowest <= value <= highest:
        raise ValueError(f'{name}: expected an integer of at least {lowest}, got {value!r}')
    return value


def numbers(about: dict, name: str, lowest: int, highest: int = LARGEST) -> list[int]:
    """A list of integers of a header.

    Raises:
        ValueError: It is missing, no list, or one of them is no integer or out of range.
    """
    values = about.get(name)
    if not isinstance(values, list) or any(type(v) is not int or not lowest <= v <= highest for v in values):
        raise ValueError(f'{name}: expected a list of integers of at least {lowest}, got {values!r}')
    return values


def check_pixels(height: int, width: int) -> None:
    """Raise a ValueError where frames of a header are larger than any picture: a blank one is computed."""
    if height * width > MOST_PIXELS:
        raise ValueError(f'size: {height} x {width} pixels are too many, expected at most {MOST_PIXELS}')


def restore_state(
    saved: SavedStream,
    objects: int,
    frames: int,
    memory: Memory,
    begin: Callable[[int], list[MemoryState]],
) -> MemoryState:
    """The state of a saved stream, compared with states that the model makes now.

    Args:
        saved: ``about`` has the stream's ``seed`` and its ``state``, what ``MemoryState.plain`` gave;
            ``tensors`` are what ``MemoryState.tensors`` gave.
        objects: O.
        frames: That were offered to the memory.
        memory: The model's.
        begin: Gives the states of the first frames of a video with so many objects.

    Raises:
        ValueError: A part is missing or not one of such a state; with the part and what was expected.
    """
    plain, tensors = saved.about.get('state'), saved.tensors
    if not isinstance(plain, dict):
        raise ValueError(f'state: expected the plain values of a {memory.state_class.__name__}')
    births, step = numbers(plain, 'births', 0), number(plain, 'step', 1)
    seeds = [saved.about.get('seed')]
    if step != frames or plain.get('seeds') != seeds:
        raise ValueError(f'state: expected step {frames} and seeds {seeds}, got {step}, {plain.get("seeds")}')
    if len(births) != objects or births != sorted(births) or births[-1] > step:
        raise ValueError(
            f'births: expected a step of at most {step} for each of {objects} objects, never decreasing, got '
            f'{births}'
        )
    groups = [members.stop - members.start for _, members in birth_groups(tuple(births))]
    likes = [_with_groups(memory, like, groups[1:]) for like in begin(groups[0])]
    values = {name: _restored(name, value, likes) for name, value in plain.items()}
    for name in {*likes[-1].tensors(), *tensors}:
        _check_tensor(name, tensors.get(name), likes, memory.bounded)
        _check_stamps(name, tensors.get(name), step)
    missing = {name for name, value in likes[-1].plain().items() if value is not None} - {*plain, *tensors}
    if missing:
        raise ValueError(f'state: expected {sorted(missing)[0]}')
    fields: dict[str, Any] = {**tensors, **values}
    state = memory.state_class(**fields)
    if not memory.bounded and len({tensor.shape[2] for tensor in tensors.values()}) > 1:
        raise ValueError('tensors: expected the same number of slots in all of them')
    return state


def _with_groups(memory: Memory, state: MemoryState, groups: list[int]) -> MemoryState:
    """The state with more objects, as many at a time as ``groups`` says."""
    for group in groups:
        state = memory.add_objects(memory.pass_over(state), group)
    return state


def _restored(name: str, value, likes: list[MemoryState]):
    """A plain value, if those of ``likes`` have its type."""
    if not any(hasattr(like, name) for like in likes):
        raise ValueError(f'state: unknown part {name}')
    value = tuple(value) if isinstance(value, list) else value
    examples = [getattr(like, name) for like in likes]
    if not any(_is_like(value, example) for example in examples):
        expected = examples[-1] if not isinstance(examples[-1], Tensor) else 'a tensor'
        raise ValueError(f'{name}: expected something like {expected!r}, got {value!r}')
    if (name == 'grid' or isinstance(value, str)) and value not in examples:
        raise ValueError(f'{name}: expected {examples[-1]!r}, got {value!r}')
    return value


def _is_like(value, example) -> bool:
    if type(value) is not type(example):
        return False
    if isinstance(value, tuple):
        return all(type(item) is int and abs(item) <= LARGEST for item in value)
    return not isinstance(value, int) or abs(value) <= LARGEST


def _check_tensor(name: str, tensor: Tensor | None, likes: list[MemoryState], bounded: bool) -> None:
    """``tensor`` must be what one of ``likes`` has; the slots (axis 2) of memories that grow are free."""
    examples = [getattr(like, name, None) for like in likes]
    found = None if tensor is None else (tensor.dtype, _shape(tensor, bounded))
    wanted = [None if not isinstance(e, Tensor) else (e.dtype, _shape(e, bounded)) for e in examples]
    if found not in wanted:
        raise ValueError(f"tensor '{name}': expected {_told(wanted[-1])}, got {_told(found)}")


def _check_stamps(name: str, tensor: Tensor | None, step: int) -> None:
    """Integers of a state are numbers of frames that it has seen; -1: none."""
    if tensor is None or tensor.is_floating_point() or tensor.dtype == torch.bool or not tensor.numel():
        return
    if tensor.min() < -1 or tensor.max() > step:
        raise ValueError(
            f"tensor '{name}': expected numbers of frames from -1 to {step}, got {tensor.min().item()} to "
            f'{tensor.max().item()}'
        )


def _shape(tensor: Tensor, bounded: bool) -> tuple[int, ...]:
    shape = tuple(tensor.shape)
    return shape if bounded or len(shape) < 3 else (*shape[:2], -1, *shape[3:])


def _told(found: tuple[torch.dtype, tuple[int, ...]] | None) -> str:
    return 'none' if found is None else f'{found[0]} {found[1]}'


def fork(stream):
    """A stream that goes on alone."""
    forked = copy.copy(stream)
    if stream.state is not None:
        forked.state = stream.state.clone()
    return forked


def check_that_it_goes_on(stream, steps: list[Callable]) -> None:
    """Go on with a fork of a stream, so that what is wrong with it is said now and not at its next frame.

    Args:
        stream: Not changed.
        steps: Each is called with the fork and gives a tensor.

    Raises:
        ValueError: What comes of it is not finite. Whatever else a wrong state leads to.
    """
    forked = fork(stream)
    for step in steps:
        results = [step(forked), *forked.state.tensors().values()]
        if not all(torch.isfinite(result).all() for result in results):
            raise ValueError('it leads to numbers that are not finite')
