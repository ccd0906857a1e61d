# A presence head for the shipped weights: the score that says whether a frame shows the object at all.
# Everything else is frozen, so where every object is found to be present the masks stay those of the shipped
# weights. The clips are edited: cuts to foreign scenes, occluders, objects that vanish, other backgrounds.
# The data's places: environment variables MMSTREMN_DAVIS (DAVIS 2016 train), MMSTREMN_VIDEO (the short
# sequences of shipped_stremn.py) and MMSTREMN_STATIC.
_base_ = './shipped_stremn.py'
video_root = '{{$MMSTREMN_VIDEO:data/video}}'
max_iters = 48
load_from = 'weights/stremn_r18.safetensors'
model = dict(
    presence=dict(type='PresenceHead', threshold=0.25),
    memory=dict(
        gates=[
            dict(type='EmptyFirst'),
            dict(type='KeepPrompted'),
            dict(type='EveryN', n=5),
            dict(type='MinPresence', probability=0.25),
        ],
    ),
    frozen=('key_encoder', 'value_encoder', 'memory.selector', 'decoder'),
)
video_clips = _base_.train_dataloader.dataset.datasets[0]
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        _delete_=True,
        type='EditedClips',
        dataset=dict(
            type='WeightedVOSDataset',
            datasets=[
                dict(video_clips, max_skip=5),
                dict(video_clips, data_root=video_root),
                dict(_base_.train_dataloader.dataset.datasets[1], clip_length=6),
            ],
            weights=[120, 40, 1],
            max_objects=2,
        ),
        clip_length=6,
    ),
)
# What tools/fit_presence.py records beside clips: whole videos at 240 rows, with foreign shots.
fit_videos = dict(
    type='DAVISDataset',
    data_root=_base_.davis_root,
    split='train',
    short_side=240,
    test_mode=True,
    foreign_shots=dict(shot_length=12, foreign_length=6),
)
dev_sets = [
    dict(type='DAVISDataset', data_root=root, split='dev') for root in (_base_.davis_root, video_root)
]
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='WeightedVOSDataset',
        datasets=dev_sets,
        test_mode=True,
        foreign_shots=dict(shot_length=20, foreign_length=10),
    )
)
train_cfg = dict(max_iters=max_iters, val_begin=max_iters + 1, val_interval=max_iters + 1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=5),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=5,
        end=max_iters,
        T_max=max_iters - 5,
        eta_min_ratio=0.05,
    ),
]
optim_wrapper = dict(optimizer=dict(lr=2e-2))
default_hooks = dict(checkpoint=dict(interval=16, max_keep_ckpts=3), logger=dict(interval=8))
