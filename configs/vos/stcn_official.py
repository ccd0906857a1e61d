# STCN (Cheng et al., NeurIPS 2021) as its public code has it, for its public weights:
# tools/model_converters/stcn_to_mmstremn.py, docs/converters.md.
_base_ = '../stremn_davis.py'
model = dict(
    _delete_=True,
    type='VOSegmentor',
    backbone=dict(type='TimmBackbone', model_name='resnet50'),
    value_backbone=dict(type='TimmBackbone', model_name='resnet18'),
    value_encoder=dict(type='STCNValueEncoder'),
    memory=dict(
        type='GrowingMemory', reader=dict(type='TopKReader', affinity=dict(type='L2Affinity'), k=20), every=5
    ),
    decoder=dict(type='STCNDecoder', channels=(512, 256, 256)),
    key_channels=64,
    value_channels=512,
    data_preprocessor=dict(type='VOSDataPreprocessor', padding='centre'),
)
