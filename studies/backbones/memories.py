# Which backbone the key encoder has; the value encoder's is ResNet-18 in every row. As in the shipped recipe
# the stem and what follows up to stride 4 do not learn. Weights of ImageNet, in timm's format, are in the
# folder MMSTREMN_BACKBONES: README.md says where they come from.
folder = '{{$MMSTREMN_BACKBONES:data/backbones}}'
memory = dict(
    type='SlotMemory',
    num_slots=5,
    selector=dict(type='FIFOSelector'),
    reader=dict(type='TopKReader', k=20),
    gates=[dict(type='EmptyFirst'), dict(type='KeepFirst')],
)
stem_of_resnet = ('conv1', 'layer1')
stem_of_inverted_residuals = ('conv_stem', 'blocks.0', 'blocks.1')
memories = {
    name: dict(
        memory=memory,
        backbone=dict(model_name=name, checkpoint=f'{folder}/{file}.pth'),
        frozen=tuple(f'key_encoder.backbone.model.{part}' for part in stem),
    )
    for name, file, stem in (
        ('resnet18', 'resnet18', stem_of_resnet),
        ('mobilenetv2_100', 'mobilenetv2_100', stem_of_inverted_residuals),
        ('tf_efficientnet_lite1', 'tf_efficientnet_lite1', stem_of_inverted_residuals),
    )
}
