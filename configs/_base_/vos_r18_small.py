# The small variant: ResNet-18 up to stride 16 in both encoders, 12 M parameters.
# Weights: a local file or URL in MMSTREMN_R18, e.g. timm's resnet18; batch norms stay frozen.
weights = '{{$MMSTREMN_R18:data/weights/resnet18.pth}}'
model = dict(
    type='VOSegmentor',
    backbone=dict(type='TimmBackbone', model_name='resnet18', checkpoint=weights),
    value_backbone=dict(type='TimmBackbone', model_name='resnet18', checkpoint=weights),
    memory=dict(
        type='SlotMemory',
        num_slots=5,
        train_slots=3,
        selector=dict(type='GumbelSelector'),
        gates=[dict(type='EmptyFirst'), dict(type='KeepFirst')],
    ),
    decoder=dict(type='MaskDecoder', channels=(256, 128, 64)),
    key_channels=64,
    value_channels=256,
    loss=dict(type='BootstrappedCEDiceLoss', top_share=1.0),  # all pixels count, as the training is short
)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-4, weight_decay=0.01),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(
        custom_keys={
            'key_encoder.backbone': dict(lr_mult=0.1),
            'value_encoder.backbone': dict(lr_mult=0.5),
            'memory.selector': dict(lr_mult=10),
        }
    ),
)
