"""Tracks that remember: identities in occlusions, mmdet's rules, bad input. Features are painted, the heads
are mmdet's."""

import copy
import pickle
import re
import subprocess
import sys
from types import SimpleNamespace

import helpers.tracking_cases  # noqa: F401  (skips without mmdet, and installs the stub)
import pytest
import torch
from mmdet.models.trackers import MaskTrackRCNNTracker, QuasiDenseTracker
from mmdet.registry import MODELS as MMDET
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmstremn.adapters.mmdet import AppearanceMemory, MemoryTracker, MemoryTrackHead, video_order
from mmstremn.adapters.mmdet.appearance import one_by_one, side_by_side
from mmstremn.adapters.mmdet.track_head import jittered, targets_of
from mmstremn.adapters.mmdet.video_order import VideoOrder

C = 8
EXTRACTOR = dict(
    type='mmdet.SingleRoIExtractor',
    roi_layer=dict(type='RoIAlign', output_size=1, sampling_ratio=2),
    out_channels=C,
    featmap_strides=[4],
)
EMBED = dict(in_channels=C, roi_feat_size=1)
HEADS = dict(
    roi=dict(
        type='mmdet.RoITrackHead',
        roi_extractor=EXTRACTOR,
        embed_head=dict(type='mmdet.RoIEmbedHead', **EMBED),
    ),
    dense=dict(
        type='mmdet.QuasiDenseTrackHead',
        roi_extractor=EXTRACTOR,
        embed_head=dict(
            type='mmdet.QuasiDenseEmbedHead',
            embed_channels=C,
            loss_track=dict(type='mmdet.MultiPosCrossEntropyLoss'),
            loss_track_aux=dict(type='mmdet.MarginL2Loss'),
            **EMBED,
        ),
    ),
)
FIFO = dict(type='FIFOSelector')


def slots(number, selector=FIFO, **more):
    return dict(type='SlotMemory', num_slots=number, selector=selector, **more)


def head_of(kind):
    """A head of mmdet whose embeddings are the features where the box is."""
    head = MMDET.build(HEADS[kind])
    if kind == 'dense':
        torch.nn.init.eye_(head.embed_head.fc_embed.weight)
        torch.nn.init.zeros_(head.embed_head.fc_embed.bias)
    return head


def tracker_of(kind, **kwargs):
    """mmdet's tracker of a head."""
    if kind == 'roi':
        return MaskTrackRCNNTracker(**kwargs)
    return QuasiDenseTracker(memo_momentum=1.0, **kwargs)


def frame(index, boxes, looks, scores=None, labels=None, scale=1.0):
    """The features and the sample of a frame of 64 x 128 pixels in which boxes (D, 4) have looks (D, C)."""
    features = torch.zeros(1, C, 16, 32)
    for box, look in zip(boxes, looks, strict=True):
        left, top, right, bottom = (box / 4).int().tolist()
        features[0, :, max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1] = look[:, None, None]
    number = len(boxes)
    found = InstanceData(
        bboxes=boxes / scale,
        labels=torch.zeros(number, dtype=torch.long) if labels is None else labels,
        scores=torch.full((number,), 0.95) if scores is None else scores,
        masks=torch.zeros(number, 64, 128, dtype=torch.bool),
    )
    info = dict(frame_id=index, video_id=1, ori_shape=(64, 128), scale_factor=(scale, scale))
    return [features], DetDataSample(metainfo=info, pred_instances=found)


def follow(tracker, head, frames):
    """The ids in each frame, in the order of the boxes from left to right."""
    model = SimpleNamespace(track_head=head)
    ids = []
    for features, sample in frames:
        if sample.frame_id == 0:
            tracker.reset()
        found = tracker.track(model=model, img=None, feats=features, data_sample=sample.clone())
        ids.append(found.instances_id[found.bboxes[:, 0].argsort()].tolist())
    return ids


def boxes_at(*lefts):
    return torch.tensor([[left, 16.0, left + 12.0, 40.0] for left in lefts])


LOOKS = 5 * torch.eye(C)


def occlusion():
    """Object 0 turns from look 0 to 1, is hidden for 3 frames and returns in look 0 elsewhere; object 1 stays
    the same."""
    frames = []
    for index in range(12):
        turned = min(max(index - 2, 0) / 2, 1) if index < 9 else 0
        places, looks = [80.0], [LOOKS[2]]
        if not 6 <= index < 9:
            places.append(8.0 if index < 9 else 40.0)
            looks.append((1 - turned) * LOOKS[0] + turned * LOOKS[1])
        frames.append(frame(index, boxes_at(*places), torch.stack(looks)))
    return frames


@pytest.mark.parametrize('kind', ['roi', 'dense'])
def test_identities_survive_occlusion_with_memory_only(kind):
    torch.manual_seed(0)
    head, frames = head_of(kind), occlusion()
    with_memory = follow(MemoryTracker(memory=slots(4)), head, frames)
    assert with_memory[0] == with_memory[-1] == [1, 0]
    assert follow(MemoryTracker(memory=slots(1)), head, frames)[-1][0] != 1
    assert follow(tracker_of(kind), head, frames)[-1][0] != 1
    assert follow(MemoryTracker(memory=slots(4), num_frames_retain=3), head, frames)[-1][0] != 1


SELECTORS = ('FIFO', 'LIFO', 'LRU', 'LFU', 'Random', 'MostSimilar', 'Diversity', 'UCB')


@pytest.mark.parametrize('name', SELECTORS)
def test_every_selector_serves(name):
    tracker = MemoryTracker(memory=slots(3, dict(type=f'{name}Selector')), num_frames_retain=50)
    frames = [frame(i, boxes_at(8, 40, 80), LOOKS[:3] + 0.1 * torch.randn(3, C)) for i in range(12)]
    assert follow(tracker, head_of('dense'), frames)[-1] == [0, 1, 2]
    for track in tracker.tracks.values():
        assert track.state.num_slots == 3 and track.state.step == 12
        assert (track.state.written_at >= 0).all()


@pytest.mark.parametrize('kind', ['roi', 'dense'])
@pytest.mark.parametrize('seed', range(3))
def test_with_one_slot_it_is_mmdets_tracker(kind, seed):
    """Random videos: objects that come and go; for QDTrack also doubled and doubtful detections and wrong
    labels.

    Looks are far apart for MaskTrack R-CNN, whose tracker in mmdet gives rivals for a track the same
    identity.
    """
    generator = torch.Generator().manual_seed(seed)
    doubtful = kind == 'dense'
    frames = []
    for index in range(15):
        shown = (torch.rand(6, generator=generator) < 0.7).nonzero()[:, 0]
        if doubtful:
            shown = torch.cat([shown, shown[:1]])  # twice the same box
        number = len(shown)
        boxes = boxes_at(*[20.0 * place + 2 for place in shown.tolist()]) + torch.rand(
            number, 1, generator=generator
        )
        looks = 0.6 * (LOOKS[shown] - 1) + torch.randn(number, C, generator=generator) * (
            1 if doubtful else 0.1
        )
        scores = 1 - 0.7 * torch.rand(number, generator=generator) ** (2 if doubtful else 20)
        labels = (torch.rand(number, generator=generator) < (0.1 if doubtful else 0)).long()
        frames.append(frame(index, boxes, looks, scores, labels, scale=0.5))
    theirs = follow(
        tracker_of(kind, **(dict(memo_tracklet_frames=10) if doubtful else {})), head_of(kind), frames
    )
    ours = follow(MemoryTracker(memory=slots(1), num_frames_retain=10), head_of(kind), frames)
    assert ours == theirs
    assert sum(map(len, ours)) > 30 and len({number for ids in ours for number in ids}) >= 6


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda tracker: pickle.loads(pickle.dumps(tracker))])
def test_a_copy_in_mid_video_goes_on_like_the_first(copied):
    torch.manual_seed(0)
    head, frames = head_of('roi'), occlusion()
    tracker = MemoryTracker(memory=slots(4))
    follow(tracker, head, frames[:5])
    other = copied(tracker)
    rest = follow(tracker, head, frames[5:])
    assert follow(other, head, frames[5:]) == rest and rest[-1] == [1, 0]


def test_rivals_for_a_track_get_one_identity():
    """mmdet's MaskTrackRCNNTracker may give two boxes of a frame the same identity."""
    frames = [
        frame(0, boxes_at(8), LOOKS[:1]),
        frame(1, boxes_at(8, 40), LOOKS[[0, 0]], scores=torch.tensor([0.6, 0.9])),
    ]
    assert follow(MemoryTracker(memory=slots(2)), head_of('roi'), frames) == [[0], [0]]


def test_output_keeps_the_detections_fields_and_empty_frames_pass():
    tracker, head = MemoryTracker(memory=slots(2), num_frames_retain=3), head_of('roi')
    model = SimpleNamespace(track_head=head)
    for index, places in enumerate([(8, 80), (), (8,), ()]):
        features, sample = frame(index, boxes_at(*places).view(-1, 4), LOOKS[: len(places)])
        found = tracker.track(model=model, feats=features, data_sample=sample)
        assert set(found.keys()) == {'bboxes', 'labels', 'scores', 'masks', 'instances_id'}
        assert len(found) == len(found.masks) == len(places)
    assert list(tracker.tracks) == [
        0
    ]  # the other was not seen for 3 frames, though nothing was found in the last one


def test_what_a_track_holds_does_not_grow():
    tracker, head = MemoryTracker(memory=slots(3)), head_of('dense')
    sizes = []
    for index in range(30):
        follow_one = frame(index, boxes_at(8), LOOKS[:1])
        tracker.track(model=SimpleNamespace(track_head=head), feats=follow_one[0], data_sample=follow_one[1])
        sizes.append(tracker.tracks[0].state.nbytes)
    assert len(set(sizes)) == 1


class TestAppearanceMemory:
    """The memory alone."""

    def test_one_slot_is_the_dot_product(self):
        memory = AppearanceMemory(C, slots(1), projected=True).eval()
        first, query = torch.randn(3, C), torch.randn(4, C)
        with torch.no_grad():
            state = memory.observe(memory.begin(torch.randn(3, C)), first)
            assert torch.allclose(memory.similarity(query, state), query @ first.T, atol=1e-5)

    def test_a_batch_of_tracks_is_read_as_each_alone(self):
        memory = AppearanceMemory(C, slots(3), projected=False).eval()
        states = []
        with torch.no_grad():
            for length in (1, 2, 5):
                state = memory.begin(torch.randn(1, C))
                for _ in range(length):
                    state = memory.observe(state, torch.randn(1, C))
                states.append(state)
            query = torch.randn(4, C)
            before = [state.hits.clone() for state in states]
            together = memory.similarity(query, side_by_side(states))
            alone = torch.cat([memory.similarity(query, state) for state in states], 1)
        assert torch.allclose(together, alone, atol=1e-5)
        assert all(torch.equal(state.hits, old) for state, old in zip(states, before, strict=True))

    @pytest.mark.parametrize('selector', ['Random', 'LRU'])
    def test_a_batch_of_equal_clocks_is_written_as_each_alone(self, selector):
        memory = AppearanceMemory(C, slots(2, dict(type=f'{selector}Selector')), projected=False).eval()
        looks = torch.randn(6, 3, C)
        with torch.no_grad():
            together = memory.begin(looks[0], seeds=(4, 5, 6))
            alone = [memory.begin(looks[0, row, None], seeds=(4 + row,)) for row in range(3)]
            for look in looks[1:]:
                together = side_by_side(one_by_one(memory.observe(together, look)))
                alone = [memory.observe(state, look[row, None]) for row, state in enumerate(alone)]
        assert together.seeds == (4, 5, 6)
        for name, tensor in side_by_side(alone).tensors().items():
            assert torch.allclose(tensor.float(), getattr(together, name).float(), atol=1e-5), name

    def test_only_slots_fit(self):
        with pytest.raises(TypeError, match='must be a SlotMemory, got GrowingMemory'):
            AppearanceMemory(C, dict(type='GrowingMemory'), projected=False)
        reader = dict(type='DenseReader', affinity=dict(type='AnisotropicL2Affinity'))
        with pytest.raises(ValueError, match='AnisotropicL2Affinity'):
            AppearanceMemory(C, slots(2, reader=reader), projected=False)

    def test_a_gate_on_the_cadence_is_respected(self):
        memory = AppearanceMemory(C, slots(2, gates=[dict(type='EveryN', n=3)]), projected=False).eval()
        with torch.no_grad():
            state = memory.begin(torch.randn(1, C))
            for _ in range(5):
                state = memory.observe(state, torch.randn(1, C))
        assert sorted(state.written_at[0, 0].tolist()) == [0, 3] and state.step == 6


def test_jitter_and_targets():
    torch.manual_seed(0)
    boxes = boxes_at(8, 60)
    views = jittered(boxes, 5)
    assert views.shape == (5, 2, 4) and torch.equal(views[0], boxes)
    sides = views[..., 2:] - views[..., :2]
    assert (sides > 0).all() and (views[1:] != boxes).all()
    centre = (views[..., 2:] + views[..., :2] - boxes[:, 2:] - boxes[:, :2]) / 2
    assert (centre.abs() <= 0.5 * (boxes[:, 2:] - boxes[:, :2])).all()
    ids = torch.tensor([7, 3, 9])
    assert targets_of(ids, torch.tensor([9, 7])).tolist() == [1, -1, 0]
    assert targets_of(ids, torch.tensor([], dtype=torch.long)).tolist() == [-1, -1, -1]


class TestBadInput:
    """Errors that say what was expected."""

    def track(self, tracker, head, **info):
        features, sample = frame(0, boxes_at(8), LOOKS[:1])
        sample.set_metainfo(info)
        return tracker.track(model=SimpleNamespace(track_head=head), feats=features, data_sample=sample)

    def test_memories(self):
        wrapped = MemoryTrackHead(HEADS['roi'])
        with pytest.raises(ValueError, match=r'no memory.*MemoryTrackHead'):
            self.track(MemoryTracker(), head_of('roi'))
        with pytest.raises(ValueError, match='two memories'):
            self.track(MemoryTracker(memory=slots(2)), wrapped)
        with pytest.raises(ValueError, match=r'neither trained nor saved.*memory.selector'):
            self.track(MemoryTracker(memory=dict(type='SlotMemory')), head_of('roi'))
        with pytest.raises(KeyError, match='FIFOSelector'):
            self.track(MemoryTracker(memory=slots(2, dict(type='FifoSelector'))), head_of('roi'))

    def test_heads(self):
        other = dict(type='mmdet.FPN', in_channels=[8], out_channels=8, num_outs=1)
        with pytest.raises(TypeError, match=r'FPN has no embedding per box.*RoITrackHead'):
            MemoryTrackHead(other)
        with pytest.raises(TypeError, match='FPN'):
            self.track(MemoryTracker(memory=slots(2)), MMDET.build(other))
        with pytest.raises(ValueError, match='views'):
            MemoryTrackHead(HEADS['roi'], views=0)

    @pytest.mark.parametrize(
        ('steps', 'message'),
        [
            ([dict(frame_id=3)], 'video 1 begins with frame 3, expected frame 0.*TrackImgSampler'),
            ([dict(), dict(frame_id=1, video_id=2)], 'video 2 begins with frame 1'),
            ([dict(), dict(frame_id=5), dict(frame_id=4)], 'frame 4 of video 1 comes after frame 5'),
            ([dict(), dict(frame_id=1, ori_shape=(32, 64))], r'\(32, 64\) .*before are \(64, 128\)'),
        ],
    )
    def test_frames(self, steps, message):
        tracker, head = MemoryTracker(memory=slots(2)), head_of('roi')
        for step in steps[:-1]:
            self.track(tracker, head, **step)
        with pytest.raises(ValueError, match=message):
            self.track(tracker, head, **steps[-1])

    def test_ranks(self, monkeypatch):
        tracker, head = MemoryTracker(memory=slots(2)), head_of('roi')
        self.track(tracker, head)
        self.track(tracker, head, frame_id=2)  # a video with every second frame is fine in one process
        monkeypatch.setattr(video_order, 'get_world_size', lambda: 2)
        with pytest.raises(
            ValueError, match='frame 4 of video 1 comes after frame 2: is the video split over 2 ranks'
        ):
            self.track(tracker, head, frame_id=4)

    @pytest.mark.parametrize('frame', [None, '0', 0.0, -1, float('nan')], ids=repr)
    def test_a_frame_without_a_place(self, frame):
        for info in (dict(frame_id=frame), {} if frame is None else dict(frame_id=frame, video_id=1)):
            with pytest.raises(ValueError, match='expected its place in the video, a whole number'):
                VideoOrder().begins(info | dict(ori_shape=(4, 4)))

    def test_a_new_video_forgets(self):
        tracker, head = MemoryTracker(memory=slots(2)), head_of('roi')
        for video in (1, 2):
            found = self.track(tracker, head, video_id=video)
            assert found.instances_id.tolist() == [0] and len(tracker.tracks) == 1


BLOCKED = """
import sys
from importlib.machinery import ModuleSpec

class Blocker:
    def find_spec(self, name, *others):
        return ModuleSpec(name, self) if name == '{name}' else None

    def create_module(self, spec):
        raise ModuleNotFoundError(spec.name, name=spec.name)

    exec_module = None

sys.meta_path.insert(0, Blocker())
import mmstremn.adapters.mmdet
"""


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('mmdet', r"needs mmdet\. Fix: pip install 'mmstremn\[tracking\]'"),
        ('mmcv._ext', r'needs mmcv\._ext\. Fix: .*install_ops_stub'),
    ],
)
def test_what_is_missing_is_named(name, message):
    result = subprocess.run([sys.executable, '-c', BLOCKED.format(name=name)], capture_output=True, text=True)
    assert result.returncode == 1 and re.search(message, result.stderr), result.stderr


@pytest.mark.parametrize('number', [0, -1])
def test_tracks_that_would_be_forgotten_at_once_are_refused(number):
    with pytest.raises(ValueError, match=f'num_frames_retain must be at least 1, got {number}'):
        MemoryTracker(num_frames_retain=number)
