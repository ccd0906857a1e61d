"""How the public weights of STM, STCN and XMem map to the models of
``configs/vos/{stm,stcn,xmem}_official.py``.

The tables name keys of seoungwugoh/STM, hkchengrex/STCN and hkchengrex/XMem. What is not a plain copy is
linear: biases before a batch norm move into its running mean, convolutions of pieces of the input are joined,
input channels change their order, and two logits under softmax become their difference under a sigmoid.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from mmstremn.checkpoints.convert import Architecture, Rule, convert_file, read_public_weights

FRAME_CHANNELS = 1024  # of ResNet-50's stride-16 map


def _without_bias(mean: Tensor, bias: Tensor) -> Tensor:
    """The running mean of a batch norm whose convolution has lost its bias."""
    return mean - bias


def _to_kernel(weight: Tensor) -> Tensor:
    """A linear layer as a 1 x 1 convolution."""
    return weight[:, :, None, None]


def _mean_first(weight: Tensor) -> Tensor:
    """Spatial attention: their maps are (maximum, mean), ours (mean, maximum)."""
    return weight.flip(1)


def _own_first(weight: Tensor) -> Tensor:
    """XMem joins (frame, objects), we join (objects, frame)."""
    return torch.cat([weight[:, FRAME_CHANNELS:], weight[:, :FRAME_CHANNELS]], 1)


def _with_others(weight: Tensor) -> Tensor:
    """The first convolution; weights of static images see no other objects and get zeros for them."""
    missing = 5 - weight.shape[1]
    return torch.cat([weight, torch.zeros_like(weight[:, :1])], 1) if missing == 1 else weight


def _join_inputs(frame: Tensor, mask: Tensor, others: Tensor) -> Tensor:
    """Three convolutions that are summed as one of all their channels."""
    return torch.cat([frame, mask, others], 1)


def _difference(logits: Tensor) -> Tensor:
    """Two output channels under softmax as one under a sigmoid."""
    return logits[1:] - logits[:1]


def _resnet(ours: str, theirs: str, stages: tuple[str, str, str]) -> tuple[Rule, ...]:
    """A ResNet up to stride 16, whose stages have names of their own."""
    rules = (Rule(f'{ours}.model.layer{n}.*', (f'{theirs}.{stage}.*',)) for n, stage in enumerate(stages, 1))
    return (*rules, Rule(f'{ours}.model.*', (f'{theirs}.*',)))


def _fusion(ours: str, theirs: str, order=None) -> tuple[Rule, ...]:
    """Feature fusion: residual block, CBAM, residual block; ``order`` is of the first block's input
    channels."""
    gate, attention = f'{theirs}.attention', f'{ours}.attention'
    return (
        Rule(f'{ours}.fuse.shortcut.weight', (f'{theirs}.block1.downsample.weight',), order),
        Rule(f'{ours}.fuse.shortcut.bias', (f'{theirs}.block1.downsample.bias',)),
        Rule(f'{ours}.fuse.conv1.weight', (f'{theirs}.block1.conv1.weight',), order),
        Rule(f'{ours}.fuse.*', (f'{theirs}.block1.*',)),
        Rule(f'{ours}.out.*', (f'{theirs}.block2.*',)),
        Rule(f'{attention}.channel.fc1.weight', (f'{gate}.ChannelGate.mlp.1.weight',), _to_kernel),
        Rule(f'{attention}.channel.fc1.bias', (f'{gate}.ChannelGate.mlp.1.bias',)),
        Rule(f'{attention}.channel.fc2.weight', (f'{gate}.ChannelGate.mlp.3.weight',), _to_kernel),
        Rule(f'{attention}.channel.fc2.bias', (f'{gate}.ChannelGate.mlp.3.bias',)),
        Rule(f'{attention}.spatial.conv.weight', (f'{gate}.SpatialGate.spatial.conv.weight',), _mean_first),
        Rule(f'{attention}.spatial.conv.bias', (f'{gate}.SpatialGate.spatial.conv.bias',)),
    )


def _stages(
    theirs: tuple[str, str], skip: str, block: str, skip_block: str | None = None
) -> tuple[Rule, ...]:
    """The decoder's two stages of doubled resolution."""
    rules = []
    for index, name in enumerate(theirs):
        ours = f'decoder.refine.stages.{index}'
        rules += [
            Rule(f'{ours}.skip.*', (f'{name}.{skip}.*',)),
            Rule(f'{ours}.skip_block.*', (f'{name}.{skip_block}.*',)),
            Rule(f'{ours}.block.shortcut.*', (f'{name}.{block}.downsample.*',)),
            Rule(f'{ours}.block.*', (f'{name}.{block}.*',)),
        ]
    return tuple(rules)


KEY_BACKBONE, VALUE_BACKBONE = 'key_encoder.backbone', 'value_encoder.backbone'
TORCHVISION = ('layer1', 'layer2', 'layer3')

# What STCN and XMem share.
_COMMON = (
    *_resnet(KEY_BACKBONE, 'key_encoder', ('res2', 'layer2', 'layer3')),
    Rule('key_encoder.key.*', ('key_proj.key_proj.*',)),
    Rule(f'{VALUE_BACKBONE}.model.conv1.weight', ('value_encoder.conv1.weight',), _with_others),
    Rule('decoder.refine.predict.*', ('decoder.pred.*',)),
    *_stages(('decoder.up_16_8', 'decoder.up_8_4'), 'skip_conv', 'out_conv'),
)

STM = Architecture(
    name='STM',
    mark='Encoder_M.conv1_m.weight',
    rules=(
        *_resnet(KEY_BACKBONE, 'Encoder_Q', ('res2', 'res3', 'res4')),
        Rule('key_encoder.key.*', ('KV_Q_r4.Key.*',)),
        Rule(
            f'{VALUE_BACKBONE}.model.conv1.weight',
            ('Encoder_M.conv1.weight', 'Encoder_M.conv1_m.weight', 'Encoder_M.conv1_o.weight'),
            _join_inputs,
        ),
        *_resnet(VALUE_BACKBONE, 'Encoder_M', ('res2', 'res3', 'res4')),
        Rule('value_encoder.own_key.*', ('KV_M_r4.Key.*',)),
        Rule('value_encoder.value.*', ('KV_M_r4.Value.*',)),
        Rule('decoder.compress.*', ('KV_Q_r4.Value.*',)),
        Rule('decoder.join.*', ('Decoder.convFM.*',)),
        Rule('decoder.block.*', ('Decoder.ResMM.*',)),
        Rule('decoder.refine.predict.*', ('Decoder.pred2.*',), _difference),
        *_stages(('Decoder.RF3', 'Decoder.RF2'), 'convFS', 'ResMM', 'ResFS'),
    ),
    constants=tuple(
        (f'Encoder_{part}.{name}', values)
        for part in 'MQ'
        for name, values in (('mean', (0.485, 0.456, 0.406)), ('std', (0.229, 0.224, 0.225)))
    ),
)

STCN = Architecture(
    name='STCN',
    mark='key_comp.weight',
    rules=(
        *_COMMON,
        # Unlike torchvision's, the convolutions of STCN's ResNet-18 have biases.
        Rule(
            f'{VALUE_BACKBONE}.model.*downsample.1.running_mean',
            ('value_encoder.*downsample.1.running_mean', 'value_encoder.*downsample.0.bias'),
            _without_bias,
        ),
        Rule(
            f'{VALUE_BACKBONE}.model.*bn*.running_mean',
            ('value_encoder.*bn*.running_mean', 'value_encoder.*conv*.bias'),
            _without_bias,
        ),
        *_resnet(VALUE_BACKBONE, 'value_encoder', TORCHVISION),
        *_fusion('value_encoder.fusion', 'value_encoder.fuser'),
        Rule('decoder.compress.*', ('key_comp.*',)),
        Rule('decoder.join.shortcut.*', ('decoder.compress.downsample.*',)),
        Rule('decoder.join.*', ('decoder.compress.*',)),
    ),
)

XMEM = Architecture(
    name='XMem',
    mark='key_proj.d_proj.weight',
    rules=(
        *_COMMON,
        Rule('key_encoder.selection.*', ('key_proj.e_proj.*',)),
        Rule('key_encoder.shrinkage.*', ('key_proj.d_proj.*',)),
        *_resnet(VALUE_BACKBONE, 'value_encoder', TORCHVISION),
        *_fusion('value_encoder.fusion', 'value_encoder.fuser', _own_first),
        *_fusion('decoder.fusion', 'decoder.fuser', _own_first),
        Rule('decoder.hand_on.0.*', ('decoder.hidden_update.g16_conv.*',)),
        Rule('decoder.hand_on.1.*', ('decoder.hidden_update.g8_conv.*',)),
        Rule('decoder.hand_on.2.*', ('decoder.hidden_update.g4_conv.*',)),
        Rule('memory.from_decoded.gates.*', ('decoder.hidden_update.transform.*',)),
        Rule('memory.from_value.gates.*', ('value_encoder.hidden_reinforce.transform.*',)),
    ),
)

PUBLIC = dict(stm=STM, stcn=STCN, xmem=XMEM)


def run(name: str, argv: list[str] | None = None) -> None:
    """The command line of ``tools/model_converters/<name>_to_mmstremn.py``."""
    architecture, default = PUBLIC[name], Path('vos', f'{name}_official.py')
    parser = argparse.ArgumentParser(description=f'Convert the public weights of {architecture.name}')
    parser.add_argument('src', type=Path, help='file of the public weights')
    parser.add_argument('dst', type=Path, help='file to write, .pth or .safetensors')
    parser.add_argument(
        '--config', type=Path, default=default, help='config of the model (default: %(default)s)'
    )
    args = parser.parse_args(argv)
    try:
        print(convert_file(args.src, args.dst, architecture, args.config))
    except (FileNotFoundError, FileExistsError, ValueError, KeyError) as error:
        raise SystemExit(f'error: {error.args[0]}{_hint(args.src, name)}') from error


def _hint(source: Path, name: str) -> str:
    """Which converter is the right one, where the file is of another model."""
    try:
        weights = read_public_weights(source)
    except (FileNotFoundError, ValueError):
        return ''
    for other, architecture in PUBLIC.items():
        if other != name and architecture.mark in weights:
            return f'. They look like those of {architecture.name}: use {other}_to_mmstremn.py'
    return ''
