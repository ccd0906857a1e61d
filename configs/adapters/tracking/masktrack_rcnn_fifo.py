# mmdet's MaskTrack R-CNN as it is, with any of its checkpoints and no training; its tracks keep the last 5
# appearances.
_base_ = 'mmdet::masktrack_rcnn/masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis2019.py'
custom_imports = dict(imports=['mmstremn.adapters.install_ops_stub', 'mmstremn.adapters.mmdet'])
memory = dict(type='SlotMemory', num_slots=5, selector=dict(type='FIFOSelector'))
model = dict(tracker=dict(_delete_=True, type='mmstremn.MemoryTracker', memory=memory, num_frames_retain=20))
