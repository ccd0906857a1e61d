# Longer on shorter clips: the data of shipped_mixed.py as clips of three frames, of which a second shows far
# more than of eight frames, and which are further apart; a tenth edited; averaged weights. Nothing is to be
# chosen in three frames: the selector stays as it was. Starts from the shipped weights.
_base_ = './shipped_mixed.py'
max_iters = 5000
clips = _base_.train_dataloader.dataset
davis, video, photographs, several = clips.dataset.datasets
model = dict(
    frozen=('memory.selector', 'key_encoder.backbone.model.conv1', 'key_encoder.backbone.model.layer1')
)
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        _delete_=True,
        type='EditedClips',
        dataset=dict(
            clips.dataset,
            datasets=[
                dict(davis, max_skip=12),
                dict(video, max_skip=12),
                dict(photographs, clip_length=3),
                dict(several, clip_length=3),
            ],
            clip_length=3,
        ),
        clip_length=3,
        edits=dict(cut_away=1, hide=1, erase=1, transplant=1, none=32),
    ),
)
train_cfg = dict(max_iters=max_iters, val_begin=max_iters + 1, val_interval=max_iters + 1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=50,
        end=max_iters,
        T_max=max_iters - 50,
        eta_min_ratio=0.05,
    ),
]
optim_wrapper = dict(optimizer=dict(lr=2e-4))
