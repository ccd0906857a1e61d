# The FCN of fcn_synthetic.py, trained, gets a memory and learns on.
# studies/mmseg_memory/run.py compares it with the same FCN that learns on without one.
_base_ = './fcn_synthetic.py'
iterations = 400
model = dict(
    decode_head=dict(
        _delete_=True,
        type='mmstremn.MemoryDecodeHead',
        head=_base_.model.decode_head,
        memory=dict(type='SlotMemory', num_slots=4, selector=dict(type='FIFOSelector')),
        key_channels=32,
        value_channels=64,
    ),
)
load_from = 'work_dirs/fcn_synthetic/iter_600.pth'
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [dict(type='PolyLR', power=0.9, begin=0, end=iterations, by_epoch=False)]
train_cfg = dict(max_iters=iterations)
default_hooks = dict(checkpoint=dict(interval=iterations))
