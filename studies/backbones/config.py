# Stage 1 of the shipped recipe, tested on the dev splits of DAVIS 2016 train and of the short sequences.
# The data's places: environment variables MMSTREMN_STATIC, MMSTREMN_DAVIS and MMSTREMN_VIDEO.
_base_ = '../../configs/vos/shipped_static.py'
video_root = '{{$MMSTREMN_VIDEO:data/video}}'
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='WeightedVOSDataset',
        test_mode=True,
        datasets=[
            dict(type='DAVISDataset', data_root=root, split='dev', short_side=240)
            for root in (_base_.davis_root, video_root)
        ],
    )
)
