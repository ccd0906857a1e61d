# DeepLabV3+ that remembers; starts from any checkpoint of its base (load_from).
_base_ = [
    'mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    './_base_/cityscapes_video.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.video_crop),
    decode_head=dict(
        _delete_=True,
        type='mmstremn.MemoryDecodeHead',
        head=dict(_base_.model.decode_head, loss_decode=_base_.video_loss),
        memory=dict(type='SlotMemory', num_slots=4, selector=dict(type='FIFOSelector')),
        pool=2,
    ),
    auxiliary_head=dict(loss_decode=dict(avg_non_ignore=True)),
)
train_dataloader = dict(_delete_=True, **_base_.video_train_dataloader)
val_dataloader = dict(_delete_=True, **_base_.video_val_dataloader)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, **_base_.video_evaluator)
test_evaluator = val_evaluator
