# XMem (Cheng and Schwing, ECCV 2022) as its public code has it, for its public weights:
# tools/model_converters/xmem_to_mmstremn.py, docs/converters.md.
_base_ = '../stremn_davis.py'
model = dict(
    _delete_=True,
    type='VOSegmentor',
    backbone=dict(type='TimmBackbone', model_name='resnet50'),
    value_backbone=dict(type='TimmBackbone', model_name='resnet18'),
    value_encoder=dict(type='STCNValueEncoder'),
    memory=dict(
        type='TwoLevelMemory',
        min_frames=5,
        max_frames=10,
        every=5,
        num_prototypes=128,
        capacity=10000,
        k=30,
        sensory_channels=64,
        decoder_channels=256,
        compat='xmem',
    ),
    decoder=dict(type='XMemDecoder', channels=(512, 256, 256), sensory_channels=64, decoder_channels=256),
    key_channels=64,
    value_channels=512,
    short_side=480,
    data_preprocessor=dict(type='VOSDataPreprocessor', padding='centre'),
)
