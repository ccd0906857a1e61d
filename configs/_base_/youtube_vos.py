# Testing on YouTube-VOS, all frames in, the frames of meta.json out, as a zip file for the evaluation server.
# Taken with
# test_dataloader = dict(_delete_=True, **_base_.youtube_vos_dataloader)
# test_evaluator = _base_.youtube_vos_evaluator
# Figures (J and F of seen and unseen categories, G) need masks: a split of one's own, or split='train' with
# `videos`, a list of videos that were left out of training. The data's place: environment variable
# MMSTREMN_YOUTUBE_VOS.
youtube_vos_root = '{{$MMSTREMN_YOUTUBE_VOS:data/YouTubeVOS}}'
youtube_vos_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='YouTubeVOSDataset',
        data_root=youtube_vos_root,
        split='valid',
        all_frames_root='all_frames/valid_all_frames',
        test_mode=True,
    ),
)
youtube_vos_evaluator = dict(
    type='YouTubeVOSMetric',
    seen_categories=youtube_vos_root + '/train/meta.json',
    zip_file='work_dirs/youtube_vos/submission.zip',
)
