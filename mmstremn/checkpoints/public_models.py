"""How the public weights of STM, STCN, XMem and Cutie map to the models of
``configs/vos/{stm,stcn,xmem,cutie_base,cutie_small}_official.py``.

The tables name keys of seoungwugoh/STM and hkchengrex/{STCN,XMem,Cutie}. What is not a plain copy is
linear: biases before a batch norm move into its running mean, convolutions of pieces of the input are joined,
input channels change their order, and two logits under softmax become their difference under a sigmoid.
"""

import argparse
import functools
from pathlib import Path

import torch
from torch import Tensor

from mmstremn.checkpoints.convert import Architecture, Rule, convert_file, read_public_weights
from mmstremn.memory.encoding import inverse_frequencies

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


def _with_others(weight: Tensor, channels: int = 5) -> Tensor:
    """A convolution that sees masks last; weights of static images see no other objects and get zeros for
    them."""
    missing = channels - weight.shape[1]
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
    configs=((None, 'vos/stm_official.py'),),
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
    configs=((None, 'vos/stcn_official.py'),),
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
    mark='value_encoder.hidden_reinforce.transform.weight',
    configs=((None, 'vos/xmem_official.py'),),
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


def _pixel_fusion(ours: str, theirs: str) -> tuple[Rule, ...]:
    """Cutie's fusion: two projections, then two blocks with channel attention."""
    projections = f'{theirs}.distributor'
    return (
        Rule(f'{ours}.own.*', (f'{projections}.g_transform.*',)),
        Rule(f'{ours}.shared.*', (f'{projections}.x_transform.*',)),
        *(
            rule
            for n in range(2)
            for rule in _attention_block(f'{ours}.blocks.{n}', f'{theirs}.block{n + 1}')
        ),
    )


def _attention_block(ours: str, theirs: str) -> tuple[Rule, ...]:
    attention = Rule(f'{ours}.attention.conv.weight', (f'{theirs}.conv.weight',))
    return attention, Rule(f'{ours}.conv*', (f'{theirs}.conv*',))


def _object_block(ours: str, theirs: str) -> tuple[Rule, ...]:
    """A block of Cutie's object transformer."""
    pairs = {
        'read_pixels': 'read_from_pixel.cross_attn',
        'read_queries': 'self_attn.self_attn',
        'write_pixels': 'read_from_query.cross_attn',
        'norms.0': 'read_from_pixel.norm',
        'norms.1': 'self_attn.norm',
        'norms.2': 'ffn.norm',
        'perceptron.0': 'ffn.linear1',
        'perceptron.2': 'ffn.linear2',
    }
    rules = (Rule(f'{ours}.{a}.*', (f'{theirs}.{b}.*',)) for a, b in pairs.items())
    return *rules, *_attention_block(f'{ours}.block', f'{theirs}.pixel_ffn.conv')


_OBJECTS, _SENSORY = 'object_transformer', 'mask_decoder.sensory_update'
_FREQUENCIES = tuple(inverse_frequencies(256).tolist())

CUTIE = Architecture(
    name='Cutie',
    mark='pixel_fuser.sensory_compress.weight',
    configs=(
        ('pixel_encoder.layer3.0.conv3.weight', 'vos/cutie_base_official.py'),
        (None, 'vos/cutie_small_official.py'),
    ),
    rules=(
        *_resnet(KEY_BACKBONE, 'pixel_encoder', ('res2', 'layer2', 'layer3')),
        Rule('key_encoder.project_map.*', ('pix_feat_proj.*',)),
        Rule('key_encoder.project_key.*', ('key_proj.pix_feat_proj.*',)),
        Rule('key_encoder.key.*', ('key_proj.key_proj.*',)),
        Rule('key_encoder.selection.*', ('key_proj.e_proj.*',)),
        Rule('key_encoder.shrinkage.*', ('key_proj.d_proj.*',)),
        Rule(f'{VALUE_BACKBONE}.model.conv1.weight', ('mask_encoder.conv1.weight',), _with_others),
        *_resnet(VALUE_BACKBONE, 'mask_encoder', TORCHVISION),
        *_pixel_fusion('value_encoder.fusion', 'mask_encoder.fuser'),
        Rule(
            'pixel_fuser.compress.weight',
            ('pixel_fuser.sensory_compress.weight',),
            functools.partial(_with_others, channels=258),
        ),
        Rule('pixel_fuser.compress.bias', ('pixel_fuser.sensory_compress.bias',)),
        *_pixel_fusion('pixel_fuser.fusion', 'pixel_fuser.fuser'),
        Rule('object_transformer.query.weight', (f'{_OBJECTS}.query_init.weight',)),
        Rule('object_transformer.query_code.weight', (f'{_OBJECTS}.query_emb.weight',)),
        Rule('object_transformer.token_to_query.*', (f'{_OBJECTS}.summary_to_query_init.*',)),
        Rule('object_transformer.token_to_code.*', (f'{_OBJECTS}.summary_to_query_emb.*',)),
        Rule('object_transformer.pixels.*', (f'{_OBJECTS}.pixel_init_proj.*',)),
        Rule('object_transformer.pixel_code.*', (f'{_OBJECTS}.pixel_emb_proj.*',)),
        *(
            rule
            for n in range(3)
            for rule in (
                Rule(f'object_transformer.predict.{n}.*', (f'{_OBJECTS}.mask_pred.{n}.1.*',)),
                *_object_block(f'object_transformer.blocks.{n}', f'{_OBJECTS}.blocks.{n}'),
            )
        ),
        Rule('memory.object_memory.project.*', ('object_summarizer.input_proj.*',)),
        Rule('memory.object_memory.feature.*', ('object_summarizer.feature_pred.*',)),
        Rule('memory.object_memory.weight.*', ('object_summarizer.weights_pred.*',)),
        Rule('memory.sensory_memory.from_decoded.gates.*', (f'{_SENSORY}.transform.*',)),
        Rule('memory.sensory_memory.from_value.gates.*', ('mask_encoder.sensory_update.transform.*',)),
        Rule('decoder.hand_on.0.*', (f'{_SENSORY}.g16_conv.*',)),
        Rule('decoder.hand_on.1.*', (f'{_SENSORY}.g8_conv.*',)),
        Rule('decoder.hand_on.2.*', (f'{_SENSORY}.g4_conv.*',)),
        Rule('decoder.refine.predict.*', ('mask_decoder.pred.*',)),
        Rule('decoder.refine.stages.*.skip.*', ('mask_decoder.decoder_feat_proc.transforms.*.*',)),
        Rule('decoder.refine.stages.0.block.shortcut.*', ('mask_decoder.up_16_8.out_conv.downsample.*',)),
        Rule('decoder.refine.stages.0.block.*', ('mask_decoder.up_16_8.out_conv.*',)),
        Rule('decoder.refine.stages.1.block.*', ('mask_decoder.up_8_4.out_conv.*',)),
    ),
    constants=(
        (f'{_OBJECTS}.spatial_pe.inv_freq', _FREQUENCIES),
        ('object_summarizer.pos_enc.inv_freq', _FREQUENCIES),
    ),
    # The heads of the auxiliary losses; the last mask of the object transformer bars nothing.
    training_only=('aux_computer.', f'{_OBJECTS}.mask_pred.3.'),
)

PUBLIC = dict(stm=STM, stcn=STCN, xmem=XMEM, cutie=CUTIE)


def run(name: str, argv: list[str] | None = None) -> None:
    """The command line of ``tools/model_converters/<name>_to_mmstremn.py``."""
    architecture = PUBLIC[name]
    default = ' or '.join(config for _, config in architecture.configs)
    parser = argparse.ArgumentParser(description=f'Convert the public weights of {architecture.name}')
    parser.add_argument('src', type=Path, help='file of the public weights')
    parser.add_argument('dst', type=Path, help='file to write, .pth or .safetensors')
    parser.add_argument('--config', type=Path, help=f'config of the model (default: {default})')
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
