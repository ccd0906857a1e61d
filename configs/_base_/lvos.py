# Testing on LVOS (Hong et al., ICCV 2023). Scored by the DAVIS protocol on the annotated frames; LVOS's own
# package also counts each object's first frame, whose mask is given, and reports seen and unseen categories.
# Taken with
# test_dataloader = dict(_delete_=True, **_base_.lvos_dataloader)
# The data's place: environment variable MMSTREMN_LVOS, a folder with valid/JPEGImages/<video> and
# valid/Annotations/<video>.
lvos_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='DAVISDataset',
        data_root='{{$MMSTREMN_LVOS:data/LVOS}}/valid',
        split=None,
        resolution='',
        consecutive=False,
        test_mode=True,
    ),
)
