# SegFormer that remembers; starts from any checkpoint of its base (load_from). Its sliding windows are given
# up.
_base_ = [
    'mmseg::segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py',
    './_base_/cityscapes_video.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.video_crop),
    decode_head=dict(
        _delete_=True,
        type='mmstremn.MemoryDecodeHead',
        head=dict(_base_.model.decode_head, loss_decode=_base_.video_loss),
        memory=dict(type='SlotMemory', num_slots=4, selector=dict(type='FIFOSelector')),
    ),
    test_cfg=dict(_delete_=True, mode='whole'),
)
train_dataloader = dict(_delete_=True, **_base_.video_train_dataloader)
val_dataloader = dict(_delete_=True, **_base_.video_val_dataloader)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, **_base_.video_evaluator)
test_evaluator = val_evaluator
