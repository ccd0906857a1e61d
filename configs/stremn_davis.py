# STReMN (arXiv 2109.06474) on DAVIS: ResNet-50 from timm, slots chosen with Gumbel-Softmax. The sizes are
# this library's: of the paper only abstract, introduction and a summary could be read.
# Another backbone: --cfg-options model.backbone.model_name=convnext_tiny
# Another memory:   --cfg-options model.memory._delete_=True model.memory.type=GrowingMemory
_base_ = ['./_base_/default_runtime.py', './_base_/davis.py']
max_iters = 20000
model = dict(
    type='VOSegmentor',
    backbone=dict(type='TimmBackbone', model_name='resnet50', pretrained=True),
    value_backbone=dict(type='TimmBackbone', model_name='resnet18', pretrained=True),
    memory=dict(
        type='SlotMemory',
        num_slots=5,
        train_slots=3,
        selector=dict(type='GumbelSelector'),
        gates=[dict(type='EmptyFirst'), dict(type='KeepFirst')],
    ),
    decoder=dict(type='MaskDecoder', channels=(512, 256, 256)),
    key_channels=64,
    value_channels=256,
    short_side=480,
)
train_cfg = dict(
    type='SeekingIterTrainLoop', max_iters=max_iters, val_begin=max_iters, val_interval=max_iters
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(
        custom_keys={'key_encoder.backbone': dict(lr_mult=0.1), 'memory.selector': dict(lr_mult=10)}
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=500),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        milestones=[int(max_iters * 0.8), int(max_iters * 0.95)],
        gamma=0.1,
    ),
]
custom_hooks = [
    dict(type='GumbelTemperatureHook', start=1.0, end=0.3),
    dict(type='ClipSkipHook', schedule=[(0.0, 5), (0.1, 10), (0.2, 15), (0.3, 20), (0.4, 25), (0.9, 5)]),
    dict(type='SelectorStatisticsHook'),
    dict(type='SlotTimelineHook'),
    dict(type='FiniteLossHook'),
]
auto_scale_lr = dict(base_batch_size=4)
