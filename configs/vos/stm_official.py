# STM (Oh et al., ICCV 2019) as its public code has it, for its public weights:
# tools/model_converters/stm_to_mmstremn.py, docs/converters.md.
_base_ = '../stremn_davis.py'
model = dict(
    _delete_=True,
    type='VOSegmentor',
    backbone=dict(type='TimmBackbone', model_name='resnet50'),
    value_backbone=dict(type='TimmBackbone', model_name='resnet50'),
    value_encoder=dict(type='STMValueEncoder'),
    memory=dict(
        type='GrowingMemory',
        reader=dict(type='DenseReader', affinity=dict(type='DotAffinity')),
        every=5,
        keep_last=True,
        per_object_key=True,
    ),
    decoder=dict(type='STMDecoder', channels=(256, 256, 256)),
    key_channels=128,
    value_channels=512,
    data_preprocessor=dict(type='VOSDataPreprocessor', padding='black'),
)
