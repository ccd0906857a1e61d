"""Stand-ins for the public weights of STM, STCN and XMem: their keys and shapes with seeded random numbers,
and videos."""

import functools
import zlib

import numpy as np
import timm
import torch


def _resnet(model_name, prefix, stages=('layer1', 'layer2', 'layer3'), inputs=3, biases=False) -> dict:
    """Names and shapes of a torchvision ResNet up to stride 16."""
    shapes = {}
    for name, tensor in timm.create_model(model_name).state_dict().items():
        first, _, rest = name.partition('.')
        if first not in ('conv1', 'bn1', 'layer1', 'layer2', 'layer3'):
            continue
        first = stages[int(first[-1]) - 1] if first.startswith('layer') else first
        shape = (64, inputs, 7, 7) if name == 'conv1.weight' else tuple(tensor.shape)
        shapes[f'{prefix}.{first}.{rest}'] = shape
        if biases and len(shape) == 4:
            shapes[f'{prefix}.{first}.{rest}'.replace('.weight', '.bias')] = shape[:1]
    return shapes


def _conv(prefix, outputs, inputs, kernel=3) -> dict:
    return {f'{prefix}.weight': (outputs, inputs, kernel, kernel), f'{prefix}.bias': (outputs,)}


def _block(prefix, outputs, inputs) -> dict:
    shortcut = {} if outputs == inputs else _conv(f'{prefix}.downsample', outputs, inputs)
    return shortcut | _conv(f'{prefix}.conv1', outputs, inputs) | _conv(f'{prefix}.conv2', outputs, outputs)


def _fusion(prefix, inputs) -> dict:
    gate = f'{prefix}.attention'
    return (
        _block(f'{prefix}.block1', 512, inputs)
        | {f'{gate}.ChannelGate.mlp.1.weight': (32, 512), f'{gate}.ChannelGate.mlp.1.bias': (32,)}
        | {f'{gate}.ChannelGate.mlp.3.weight': (512, 32), f'{gate}.ChannelGate.mlp.3.bias': (512,)}
        | _conv(f'{gate}.SpatialGate.spatial.conv', 1, 2, 7)
        | _block(f'{prefix}.block2', 512, 512)
    )


def _refinement() -> dict:
    return (
        _conv('decoder.up_16_8.skip_conv', 512, 512)
        | _block('decoder.up_16_8.out_conv', 256, 512)
        | _conv('decoder.up_8_4.skip_conv', 256, 256)
        | _block('decoder.up_8_4.out_conv', 256, 256)
        | _conv('decoder.pred', 1, 256)
    )


def _stm() -> dict:
    shapes = {'Encoder_M.conv1_m.weight': (64, 1, 7, 7), 'Encoder_M.conv1_o.weight': (64, 1, 7, 7)}
    for part in 'MQ':
        shapes |= {f'Encoder_{part}.mean': (1, 3, 1, 1), f'Encoder_{part}.std': (1, 3, 1, 1)}
        shapes |= _resnet('resnet50', f'Encoder_{part}', ('res2', 'res3', 'res4'))
        shapes |= _conv(f'KV_{part}_r4.Key', 128, 1024) | _conv(f'KV_{part}_r4.Value', 512, 1024)
    shapes |= (
        _conv('Decoder.convFM', 256, 1024)
        | _block('Decoder.ResMM', 256, 256)
        | _conv('Decoder.pred2', 2, 256)
    )
    for stage, inputs in (('RF3', 512), ('RF2', 256)):
        shapes |= _conv(f'Decoder.{stage}.convFS', 256, inputs)
        shapes |= _block(f'Decoder.{stage}.ResFS', 256, 256) | _block(f'Decoder.{stage}.ResMM', 256, 256)
    return shapes


def _stcn() -> dict:
    return (
        _resnet('resnet50', 'key_encoder', ('res2', 'layer2', 'layer3'))
        | _resnet('resnet18', 'value_encoder', inputs=5, biases=True)
        | _fusion('value_encoder.fuser', 1280)
        | _conv('key_proj.key_proj', 64, 1024)
        | _conv('key_comp', 512, 1024)
        | _block('decoder.compress', 512, 1024)
        | _refinement()
    )


def _xmem() -> dict:
    update = 'decoder.hidden_update'
    return (
        _resnet('resnet50', 'key_encoder', ('res2', 'layer2', 'layer3'))
        | _resnet('resnet18', 'value_encoder', inputs=5)
        | _fusion('value_encoder.fuser', 1280)
        | _conv('value_encoder.hidden_reinforce.transform', 192, 576)
        | _conv('key_proj.key_proj', 64, 1024)
        | _conv('key_proj.d_proj', 1, 1024)
        | _conv('key_proj.e_proj', 64, 1024)
        | _fusion('decoder.fuser', 1600)
        | _conv(f'{update}.g16_conv', 256, 512, 1)
        | _conv(f'{update}.g8_conv', 256, 256, 1)
        | _conv(f'{update}.g4_conv', 256, 257, 1)
        | _conv(f'{update}.transform', 192, 320)
        | _refinement()
    )


SHAPES = dict(stm=_stm, stcn=_stcn, xmem=_xmem)


@functools.cache
def shapes(name: str) -> dict:
    """Key and shape of every tensor in the public weights of ``name``."""
    return SHAPES[name]()


def random_weights(name: str, seed: int = 0) -> dict:
    """Numbers for those keys, of which predictions with structure come out; each key's depend on seed and key
    alone."""
    return {key: torch.from_numpy(_random(key, shape, seed)) for key, shape in shapes(name).items()}


def blank_weights(name: str) -> dict:
    """Zeros for those keys, but for the colour statistics: cheap, for tests of the keys alone."""
    constants = ('.mean', '.std')
    return {
        key: torch.from_numpy(_random(key, shape, 0))
        if key.endswith(constants)
        else torch.zeros(()).expand(shape)
        for key, shape in shapes(name).items()
    }


def _random(key: str, shape: tuple, seed: int) -> np.ndarray:
    rng = np.random.default_rng((seed, zlib.crc32(key.encode())))
    if key.endswith('num_batches_tracked'):
        return np.array(7)
    if key.endswith('.mean'):
        return np.array([0.485, 0.456, 0.406], np.float32).reshape(shape)
    if key.endswith('.std'):
        return np.array([0.229, 0.224, 0.225], np.float32).reshape(shape)
    if key.endswith('running_var'):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    numbers = rng.standard_normal(shape, np.float32)
    if len(shape) > 1:
        gain = next((gain for part, gain in GAINS.items() if part in key), 1.0)
        numbers *= np.float32(gain * np.sqrt(2 / np.prod(shape[1:])))
        if shape[1] == 5:  # masks are small numbers beside normalised colours
            numbers[:, 3:] *= 20
        if (
            'pred' in key or 'ey.weight' in key or 'key_proj.key_proj' in key
        ):  # of positive inputs: removes the offset
            numbers -= numbers.mean((1, 2, 3), keepdims=True)
        return numbers
    if key.endswith(
        '.weight'
    ):  # of a batch norm; the last of a residual branch is small, so that features do not grow
        last = '.bn3' in key or ('.bn2' in key and 'value_encoder' in key)
        return (np.abs(1 + 0.2 * numbers) * (0.3 if last else 1.0)).astype(np.float32)
    return 0.1 * numbers + np.float32(OFFSETS.get(key, 0.0))


GAINS = {
    'conv1_': 20.0,
    'pred2': 0.3,
    'pred': 1.0,
    'Key': 0.2,
    'key_proj.key_proj': 0.3,
    'd_proj': 0.1,
    'fuser': 0.5,
    'ecoder.': 0.5,
    'key_comp': 0.1,
    'Value': 0.3,
}

OFFSETS = {'decoder.pred.bias': -2.0}


def make_video(length: int, size: tuple[int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three textured squares that move over a moving texture.

    Returns:
        Frames (T, H, W, 3) uint8, and the ids (H, W) uint8 of the first frame.
    """
    rng = np.random.default_rng(seed)
    (height, width), side = size, min(size) // 3
    textures = [_texture(rng, *shape) for shape in [size] + 3 * [(side, side)]]
    start = rng.uniform(0, 1, (3, 2)) * (height - side, width - side)
    speed = rng.uniform(-1, 1, (3, 2)) * min(size) / 30
    frames, ids = [], np.zeros(size, np.uint8)
    for t in range(length):
        frame = np.roll(textures[0], t, (0, 1)).copy()
        for k in range(3):
            y, x = (bounce(start[k, i] + t * speed[k, i], size[i] - side) for i in range(2))
            frame[y : y + side, x : x + side] = 255 - textures[k + 1] * (k + 1) // 3
            if t == 0:
                ids[y : y + side, x : x + side] = k + 1
        frames.append(np.clip(frame + rng.integers(-12, 13, frame.shape), 0, 255).astype(np.uint8))
    return np.stack(frames), ids


def _texture(rng, height: int, width: int) -> np.ndarray:
    """(H, W, 3) of squares of 3, 9 and 27 pixels on each other: no two places look alike."""
    layers = []
    for cell in (3, 9, 27):
        colours = rng.integers(0, 256, (height // cell + 1, width // cell + 1, 3))
        layers.append(np.kron(colours, np.ones((cell, cell, 1), int))[:height, :width])
    return np.clip((np.mean(layers, 0) - 128) * 1.7 + 128, 0, 255).astype(int)


def bounce(position: float, limit: int) -> int:
    """A position that is reflected at 0 and at ``limit``."""
    return int(limit - abs(position % (2 * limit) - limit))
