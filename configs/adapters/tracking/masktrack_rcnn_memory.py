# MaskTrack R-CNN whose tracks keep 5 appearances, chosen by the learned selector; trains from mmdet's
# checkpoints.
_base_ = 'mmdet::masktrack_rcnn/masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis2019.py'
custom_imports = dict(imports=['mmstremn.adapters.install_ops_stub', 'mmstremn.adapters.mmdet'])
model = dict(
    track_head=dict(
        _delete_=True,
        type='mmstremn.MemoryTrackHead',
        head={{_base_.model.track_head}},
        memory=dict(type='SlotMemory', num_slots=5, train_slots=2),
    ),
    tracker=dict(_delete_=True, type='mmstremn.MemoryTracker', num_frames_retain=20),
)
