# QDTrack whose tracks keep 5 appearances, chosen by the learned selector; trains from mmdet's checkpoints.
_base_ = 'mmdet::qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py'
custom_imports = dict(imports=['mmstremn.adapters.install_ops_stub', 'mmstremn.adapters.mmdet'])
model = dict(
    track_head=dict(
        _delete_=True,
        type='mmstremn.MemoryTrackHead',
        head={{_base_.model.track_head}},
        memory=dict(type='SlotMemory', num_slots=5, train_slots=2),
    ),
    tracker=dict(
        _delete_=True,
        type='mmstremn.MemoryTracker',
        matcher=dict(type='BiSoftmaxMatcher', init_score_thr=0.9),
        num_frames_retain=30,
    ),
)
