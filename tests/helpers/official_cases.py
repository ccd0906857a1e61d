"""Stand-ins for the public weights of STM, STCN, XMem and Cutie: their keys and shapes with seeded random
numbers, and videos."""

import functools
import zlib

import numpy as np
import timm
import torch

# XMem's and Cutie's memory so small that it consolidates often and drops prototypes.
SMALL_MEMORY = dict(min_frames=3, max_frames=4, every=2, num_prototypes=20, capacity=50)
POINTS = ((0, 0), (20, 30), (37, 50), (50, 90), (74, 100))  # of frames of 75 x 101


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


def _linear(prefix, outputs, inputs) -> dict:
    return {f'{prefix}.weight': (outputs, inputs), f'{prefix}.bias': (outputs,)}


def _attention(prefix) -> dict:
    joined = {f'{prefix}.in_proj_weight': (768, 256), f'{prefix}.in_proj_bias': (768,)}
    return joined | _linear(f'{prefix}.out_proj', 256, 256)


def _norm(prefix) -> dict:
    return {f'{prefix}.weight': (256,), f'{prefix}.bias': (256,)}


def _attention_block(prefix) -> dict:
    return _block(prefix, 256, 256) | {f'{prefix}.conv.weight': (1, 1, 5)}


def _pixel_fusion(prefix) -> dict:
    return (
        _conv(f'{prefix}.distributor.x_transform', 256, 256, 1)
        | _conv(f'{prefix}.distributor.g_transform', 256, 256, 1)
        | _attention_block(f'{prefix}.block1')
        | _attention_block(f'{prefix}.block2')
    )


def _object_transformer(prefix) -> dict:
    shapes = {f'{prefix}.query_init.weight': (16, 256), f'{prefix}.query_emb.weight': (16, 256)}
    for name in ('summary_to_query_init', 'summary_to_query_emb'):
        shapes |= _linear(f'{prefix}.{name}', 256, 256)
    shapes |= _conv(f'{prefix}.pixel_init_proj', 256, 256, 1) | _conv(f'{prefix}.pixel_emb_proj', 256, 256, 1)
    shapes |= {f'{prefix}.spatial_pe.inv_freq': (64,)}
    for number in range(3):
        block = f'{prefix}.blocks.{number}'
        shapes |= _attention(f'{block}.read_from_pixel.cross_attn') | _norm(f'{block}.read_from_pixel.norm')
        shapes |= _attention(f'{block}.self_attn.self_attn') | _norm(f'{block}.self_attn.norm')
        shapes |= _linear(f'{block}.ffn.linear1', 2048, 256) | _linear(f'{block}.ffn.linear2', 256, 2048)
        shapes |= _norm(f'{block}.ffn.norm') | _attention(f'{block}.read_from_query.cross_attn')
        shapes |= _attention_block(f'{block}.pixel_ffn.conv')
    for number in range(4):
        shapes |= _conv(f'{prefix}.mask_pred.{number}.1', 1, 256, 1)
    return shapes


def _cutie(backbone, channels) -> dict:
    update, summaries = 'mask_decoder.sensory_update', 'object_summarizer'
    return (
        _resnet(backbone, 'pixel_encoder', ('res2', 'layer2', 'layer3'))
        | _conv('pix_feat_proj', 256, channels[0], 1)
        | _conv('key_proj.pix_feat_proj', 256, channels[0], 1)
        | _conv('key_proj.key_proj', 64, 256)
        | _conv('key_proj.d_proj', 1, 256)
        | _conv('key_proj.e_proj', 64, 256)
        | _resnet('resnet18', 'mask_encoder', inputs=5)
        | _pixel_fusion('mask_encoder.fuser')
        | _conv('mask_encoder.sensory_update.transform', 768, 512)
        | _conv(f'{update}.g16_conv', 256, 256, 1)
        | _conv(f'{update}.g8_conv', 256, 128, 1)
        | _conv(f'{update}.g4_conv', 256, 129, 1)
        | _conv(f'{update}.transform', 768, 512)
        | _conv('mask_decoder.decoder_feat_proc.transforms.0', 256, channels[1], 1)
        | _conv('mask_decoder.decoder_feat_proc.transforms.1', 128, channels[2], 1)
        | _conv('mask_decoder.up_16_8.out_conv.downsample', 128, 256, 1)
        | _conv('mask_decoder.up_16_8.out_conv.conv1', 128, 256)
        | _conv('mask_decoder.up_16_8.out_conv.conv2', 128, 128)
        | _block('mask_decoder.up_8_4.out_conv', 128, 128)
        | _conv('mask_decoder.pred', 1, 128)
        | _pixel_fusion('pixel_fuser.fuser')
        | _conv('pixel_fuser.sensory_compress', 256, 258, 1)
        | _object_transformer('object_transformer')
        | {f'{summaries}.pos_enc.inv_freq': (64,)}
        | _linear(f'{summaries}.input_proj', 256, 256)
        | _linear(f'{summaries}.feature_pred.0', 256, 256)
        | _linear(f'{summaries}.feature_pred.2', 256, 256)
        | _linear(f'{summaries}.weights_pred.0', 256, 256)
        | _linear(f'{summaries}.weights_pred.2', 16, 256)
        | _conv('aux_computer.sensory_aux.projection', 257, 256, 1)
    )


SHAPES = dict(
    stm=_stm,
    stcn=_stcn,
    xmem=_xmem,
    cutie_base=functools.partial(_cutie, 'resnet50', (1024, 512, 256)),
    cutie_small=functools.partial(_cutie, 'resnet18', (256, 128, 64)),
)


@functools.cache
def shapes(name: str) -> dict:
    """Key and shape of every tensor in the public weights of ``name``."""
    return SHAPES[name]()


def random_weights(name: str, seed: int = 0) -> dict:
    """Numbers for those keys, of which predictions with structure come out; each key's depend on seed and key
    alone."""
    weights = {key: torch.from_numpy(_random(key, shape, seed)) for key, shape in shapes(name).items()}
    if name == 'cutie_small':  # the last batch norm of a ResNet-18's residual branch
        for key in weights:
            if key.startswith('pixel_encoder') and key.endswith('.bn2.weight'):
                weights[key] *= 0.3
    return weights


def blank_weights(name: str) -> dict:
    """Zeros for those keys, but for the colour statistics: cheap, for tests of the keys alone."""
    constants = ('.mean', '.std', '.inv_freq')
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
    if key.endswith('.inv_freq'):
        return (1 / 128 ** (np.arange(64, dtype=np.float64) / 64)).astype(np.float32)
    if key.endswith('running_var'):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    numbers = rng.standard_normal(shape, np.float32)
    if len(shape) > 1:
        gain = next((gain for part, gain in GAINS.items() if part in key), 1.0)
        numbers *= np.float32(gain * np.sqrt(2 / np.prod(shape[1:])))
        if shape[1] == 5:  # masks are small numbers beside normalised colours
            numbers[:, 3:] *= 20
        if len(shape) == 4 and (
            'pred' in key or 'ey.weight' in key or 'key_proj.key_proj' in key
        ):  # of positive inputs: removes the offset
            numbers -= numbers.mean((1, 2, 3), keepdims=True)
        return numbers
    if key.endswith(
        '.weight'
    ):  # of a batch norm; the last of a residual branch is small, so that features do not grow
        last = '.bn3' in key or ('.bn2' in key and ('value_encoder' in key or 'mask_encoder' in key))
        return (np.abs(1 + 0.2 * numbers) * (0.3 if last else 1.0)).astype(np.float32)
    return 0.1 * numbers + np.float32(OFFSETS.get(key, 0.0))


GAINS = {
    'key_proj.pix_feat_proj': 0.3,
    'pix_feat_proj': 0.1,
    'g_transform': 0.1,
    'sensory_update.transform': 0.1,
    'sensory_compress': 0.2,
    'in_proj': 0.3,
    'mask_pred': 0.5,
    'pixel_ffn': 0.5,
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
