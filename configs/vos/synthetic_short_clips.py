# What `make demo` trains first, for all its memories: many clips of three frames, in which there is nothing
# to choose. Every frame is moved, turned and scaled on its own, as in the static stage of the literature:
# copying a mask in place does not help.
_base_ = '../stremn_synthetic.py'
max_iters = 600
model = dict(frozen=('memory.selector',))
train_dataloader = dict(
    batch_size=5,
    dataset=dict(
        clip_length=3,
        max_skip=5,
        pipeline=[
            dict(
                type='ClipTransform',
                name='RandomAffine',
                per_frame=True,
                degrees=20,
                translate=(0.25, 0.25),
                scale=(0.75, 1.3),
                shear=10,
            ),
            dict(type='PackClip'),
        ],
    ),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_iters=max_iters, val_begin=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=30),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=30,
        end=max_iters,
        T_max=max_iters - 30,
        eta_min_ratio=0.1,
    ),
]
