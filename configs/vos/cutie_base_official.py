# Cutie-base (Cheng et al., CVPR 2024) as its public code has it, for its public weights:
# tools/model_converters/cutie_to_mmstremn.py, docs/converters.md.
_base_ = '../stremn_davis.py'
model = dict(
    _delete_=True,
    type='VOSegmentor',
    backbone=dict(type='TimmBackbone', model_name='resnet50'),
    value_backbone=dict(type='TimmBackbone', model_name='resnet18'),
    value_encoder=dict(type='CutieValueEncoder'),
    key_projection=256,
    memory=dict(
        type='CutieMemory',
        pixel_memory=dict(
            type='TwoLevelMemory',
            min_frames=5,
            max_frames=10,
            every=5,
            num_prototypes=128,
            capacity=10000,
            buffer=2000,
            k=30,
            sensory_channels=0,
            compat='cutie',
        ),
        sensory_memory=dict(type='SensoryMemory', channels=256),
        object_memory=dict(type='ObjectMemory', num_summaries=16, channels=256),
    ),
    pixel_fuser=dict(type='PixelFuser', sensory_channels=256),
    object_transformer=dict(
        type='ObjectTransformer', num_queries=16, blocks=3, heads=8, hidden_channels=2048
    ),
    decoder=dict(type='CutieDecoder', channels=(256, 128, 128), decoder_channels=256),
    key_channels=64,
    value_channels=256,
    short_side=480,
    data_preprocessor=dict(type='VOSDataPreprocessor', padding='black', blank=False),
)
