# Mask R-CNN finds objects on every 5th frame, a VOSegmentor with a memory carries their masks on: VIS without
# a tracker.
# --cfg-options model.detector_checkpoint=(Mask R-CNN's or MaskTrack R-CNN's) model.segmentor_checkpoint=(a
# VOSegmentor's)
_base_ = 'mmdet::masktrack_rcnn/masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis2019.py'
custom_imports = dict(imports=['mmstremn.adapters.install_ops_stub', 'mmstremn.adapters.mmdet'])
model = dict(
    _delete_=True,
    _scope_='mmdet',  # also where this config is inherited as 'mmstremn::...'
    type='mmstremn.MemoryMaskPropagation',
    data_preprocessor={{_base_.model.data_preprocessor}},
    detector={{_base_.model.detector}},
    segmentor=dict(
        type='VOSegmentor',
        backbone=dict(type='TimmBackbone', model_name='resnet50'),
        value_backbone=dict(type='TimmBackbone', model_name='resnet18'),
        memory=dict(type='SlotMemory', num_slots=5, gates=[dict(type='EmptyFirst'), dict(type='KeepFirst')]),
        decoder=dict(type='MaskDecoder', channels=(512, 256, 256)),
        short_side=480,
    ),
)
