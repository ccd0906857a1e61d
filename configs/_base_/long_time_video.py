# Testing on Long-time Video (Liang et al., AFB-URR, NeurIPS 2020): three videos, few frames of which are
# annotated. Scored by the DAVIS protocol on the annotated frames. Taken with
# test_dataloader = dict(_delete_=True, **_base_.long_time_video_dataloader)
# The data's place: environment variable MMSTREMN_LONG_TIME_VIDEO, a folder with JPEGImages/<video> and
# Annotations/<video>.
long_time_video_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='DAVISDataset',
        data_root='{{$MMSTREMN_LONG_TIME_VIDEO:data/long_video}}',
        split=None,
        resolution='',
        consecutive=False,
        test_mode=True,
    ),
)
