"""Files of streams, damaged in every way that we could think of; a function of a seed."""

import copy
import json
from collections.abc import Iterator

import numpy as np
import torch
from safetensors.torch import load, save

JUNK = (
    None, True, -1, 0, 1, 7, 255, 2**31, 10**30, -(10**30), 1.5, float('nan'), '', 'x', [], [0], [1, 'a'],
    [-3], [2**40, 2], [1] * 300, {}, {'a': 1}, [[]], 'float16',
)  # fmt: skip


def damaged(data: bytes, number: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """``number`` damaged versions of a saved stream, each with a line that says what was done."""
    parts = contents(data)
    for index in range(number):
        rng = np.random.default_rng((seed, index))
        ways = (_bytes, _header, _tensor, _tensors)
        yield ways[index % 4](rng, data, *copy.deepcopy(parts))


def contents(data: bytes) -> tuple[dict, dict[str, torch.Tensor]]:
    """The header and the tensors of a saved stream."""
    length = int.from_bytes(data[:8], 'little')
    about = json.loads(json.loads(data[8 : 8 + length])['__metadata__']['stream'])
    return about, load(data)


def _packed(rng, about, tensors) -> bytes:
    """In one of three cases with the checksum of what was there before, else as an older version wrote it."""
    if isinstance(about, dict) and rng.integers(3):
        about.pop('sha256', None)
    return save({name: t.contiguous() for name, t in tensors.items()}, {'stream': json.dumps(about)})


def _bytes(rng, data, about, tensors):
    way, place = int(rng.integers(5)), int(rng.integers(len(data)))
    if way == 0:
        return f'cut at {place}', data[:place]
    if way == 1:
        return 'longer', data + bytes(rng.integers(1, 9))
    changed = bytearray(data)
    # Half of them hit the header, which is small beside the tensors.
    size = int.from_bytes(data[:8], 'little') + 8
    for _ in range(way):
        place = int(rng.integers(size if rng.integers(2) else len(data)))
        changed[place] ^= 1 << int(rng.integers(8))
    return f'{way} bits flipped, the last at {place}', bytes(changed)


def _nodes(node, path=()):
    """Every place in nested dicts and lists."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from _nodes(value, (*path, key))


def _header(rng, data, about, tensors):
    places = [place for place in _nodes(about) if place[0] != 'sha256']
    place = places[rng.integers(len(places))]
    parent = about
    for key in place[:-1]:
        parent = parent[key]
    if rng.integers(3):
        value = JUNK[rng.integers(len(JUNK))]
        parent[place[-1]] = value
        return f'{place} is {value!r}'[:90], _packed(rng, about, tensors)
    del parent[place[-1]]
    return f'{place} is missing', _packed(rng, about, tensors)


def _tensor(rng, data, about, tensors):
    name = sorted(tensors)[rng.integers(len(tensors))]
    tensor, way = tensors[name], int(rng.integers(7))
    axis = int(rng.integers(tensor.dim()))
    if way < 3:
        value = [float('nan'), float('inf'), 1e38][way]
        tensor = tensor if tensor.is_floating_point() else tensor.float()
        flat = tensor.reshape(-1).clone()
        flat[rng.integers(max(1, flat.numel())) :] = value
        tensor = flat.view(tensor.shape)
    elif way == 3:
        tensor = tensor.to([torch.float16, torch.float64, torch.int32, torch.bool][rng.integers(4)])
    elif way == 4:
        tensor = tensor.narrow(axis, 0, max(0, tensor.shape[axis] - 1))
    elif way == 5:
        tensor = torch.cat([tensor, tensor], axis)
    else:
        tensor = tensor[None] if rng.integers(2) else tensor.transpose(axis, 0)
    tensors[name] = tensor
    return f'{name} in way {way}, axis {axis}', _packed(rng, about, tensors)


def _tensors(rng, data, about, tensors):
    names, way = sorted(tensors), int(rng.integers(4))
    one, other = (names[i] for i in rng.integers(len(names), size=2))
    if way == 0:
        del tensors[one]
    elif way == 1:
        tensors[one], tensors[other] = tensors[other], tensors[one]
    elif way == 2:
        tensors[one + 'x'] = tensors.pop(one)
    else:
        tensors['more'] = tensors[one].clone()
    return f'{one} and {other} in way {way}', _packed(rng, about, tensors)
