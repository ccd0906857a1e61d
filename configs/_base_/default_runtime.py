default_scope = 'mmstremn'
randomness = dict(seed=0)
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
# Without a GPU device_ids must be None and the backend gloo; the tools see to both.
model_wrapper_cfg = dict(type='MMDistributedDataParallel', broadcast_buffers=False)
log_level = 'INFO'
log_processor = dict(by_epoch=False, window_size=20)
visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
default_hooks = dict(
    iteration=dict(type='IterationHook'),
    checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=1000, max_keep_ckpts=2),
    logger=dict(type='LoggerHook', interval=20, log_metric_by_epoch=False),
)
custom_hooks = [
    dict(type='GumbelTemperatureHook', start=1.0, end=0.3),
    dict(type='SelectorStatisticsHook'),
    dict(type='SlotTimelineHook'),
    dict(type='FiniteLossHook'),
]
load_from = None
resume = False
