# A benchmark on which it matters what a memory keeps: videos edited from the sequences of DAVIS 2016 and
# others, each with several objects that come and go (studies/edited_videos/README.md). `tools/test.py` with
# this config runs the test split; `edited` has all of them.
# The data's places: environment variables MMSTREMN_DAVIS (DAVIS 2016 train), MMSTREMN_VIDEO (the short
# sequences of shipped_stremn.py) and MMSTREMN_TEST (sequences of the validation set, DAVIS layout).
_base_ = './absence_head.py'
test_root = '{{$MMSTREMN_TEST:data/davis16-val10}}'
edited_size = (160, 288)
style = dict()
edited_dev = dict(
    type='EditedVideoDataset',
    dataset=dict(type='WeightedVOSDataset', datasets=_base_.dev_sets, test_mode=True),
    num_videos=16,
    num_frames=(300, 500),
    size=edited_size,
    style=style,
    seed=1,
)
edited_train = dict(
    edited_dev,
    dataset=dict(type='DAVISDataset', data_root=_base_.davis_root, split='train', test_mode=True),
    num_videos=60,
    stride=3,  # of sequences of which every 2nd frame is there
    num_frames=(180, 300),
    seed=0,
)
edited_test = dict(
    edited_dev,
    dataset=dict(type='DAVISDataset', data_root=test_root, split='val', year=2016, test_mode=True),
    num_videos=40,
    num_frames=(300, 600),
    classes=[['car-roundabout', 'car-shadow', 'drift-chicane'], ['goat', 'libby', 'horsejump-high']],
    seed=2,
)
edited_synthetic = dict(
    edited_dev,
    dataset=dict(
        type='SyntheticVOSDataset',
        split='test',
        num_frames=60,
        size=(128, 128),
        max_objects=1,
        test_mode=True,
    ),
    num_videos=20,
    size=(128, 128),
    seed=3,
)
edited = dict(train=edited_train, dev=edited_dev, test=edited_test, synthetic=edited_synthetic)
test_dataloader = dict(dataset=dict(_delete_=True, **edited_test))
