"""mmdet's MaskTrack R-CNN and QDTrack with a memory: built from our configs, trained, tested, scored,
saved."""

import copy

import pytest
import torch
from helpers import tracking_cases as cases
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, load_checkpoint, save_checkpoint

import mmstremn.adapters.mmdet
from mmstremn.memory import GumbelSelector, SlotMemory

KINDS = {'masktrack': cases.MASKTRACK, 'qdtrack': cases.QDTRACK}


@pytest.fixture(autouse=True)
def mmdet_scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return cases.write_youtube_vis(tmp_path_factory.mktemp('vis'), videos=2)


@pytest.fixture(scope='module')
def items(data):
    """A clip of a key and a reference frame, and a whole video."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        cfg = cases.small_config(cases.MASKTRACK)
        return cases.dataset(data, cfg, test=False)[0], cases.dataset(data, cfg, test=True)[0]


def losses_of(model, item, seed=0):
    torch.manual_seed(seed)
    inputs = cases.batch(model, [copy.deepcopy(item)], training=True)
    return model.train()(**inputs, mode='loss')


def as_tensor(loss):
    return torch.stack(loss).detach() if isinstance(loss, list) else loss.detach()


def plain_config(path):
    """The same model without a memory: mmdet's own."""
    cfg = cases.small_config(path)
    model = cfg.model
    model.track_head = model.track_head.head
    tracker = 'QuasiDenseTracker' if 'matcher' in model.tracker else 'MaskTrackRCNNTracker'
    model.tracker = dict(type=tracker, **(dict(memo_momentum=1.0) if tracker[0] == 'Q' else {}))
    return cfg


@pytest.mark.parametrize('kind', KINDS)
def test_training_reaches_the_memory_and_leaves_the_rest_alone(kind, items, tmp_path):
    """One step; a checkpoint of mmdet's model loads; its own losses stay what they are."""
    plain = cases.build(plain_config(KINDS[kind]))
    path = str(tmp_path / 'plain.pth')
    save_checkpoint(plain.state_dict(), path)
    model = cases.build(cases.small_config(KINDS[kind]), seed=1)
    load_checkpoint(model, path)
    missing = model.load_state_dict(plain.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert missing.missing_keys and all(key.startswith('track_head.memory.') for key in missing.missing_keys)
    theirs, ours = losses_of(plain, items[0]), losses_of(model, items[0])
    assert set(ours) == set(theirs) | {'loss_memory'}
    for name, value in theirs.items():
        assert torch.allclose(as_tensor(value), as_tensor(ours[name])), name
    total, _ = model.parse_losses(ours)
    total.backward()
    parameters = dict(model.track_head.memory.named_parameters())
    gradients = {name: float(p.grad.abs().sum()) for name, p in parameters.items()}
    assert len(gradients) > 8 and all(value > 0 for value in gradients.values()), gradients
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    before = {name: p.detach().clone() for name, p in parameters.items()}
    optimizer.step()
    assert all(not torch.equal(before[name], p) for name, p in parameters.items())
    saved = model.state_dict()
    assert not any(key.startswith('tracker') for key in saved)
    model.load_state_dict(saved, strict=True)


def test_the_loss_through_the_memory_falls(items):
    model = cases.build(cases.small_config(cases.QDTRACK))
    inputs = cases.batch(model, [items[0]], training=True)
    samples, frames = inputs['data_samples'], inputs['inputs']
    key, reference = samples[0].key_frames_inds[0], samples[0].ref_frames_inds[0]
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    losses = []
    for _ in range(15):
        features = [model.detector.extract_feat(frames[:, index]) for index in (key, reference)]
        loss, _ = model.track_head.memory_loss(*features, samples)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert sum(losses[-3:]) / 3 < 0.5 * losses[0], losses
    selector = model.track_head.memory.memory.selector
    assert isinstance(selector, GumbelSelector)
    assert selector.pop_statistics()['choices'] == 15 * 2 * 4  # 2 objects, 6 views, 2 slots


class Charging(SlotMemory):
    """Slots that cost something."""

    def penalty(self, state):
        return dict(loss_slots=state.value.square().mean())


def test_what_the_memory_adds_is_in_the_losses(items, monkeypatch):
    logged = []
    monkeypatch.setattr('mmstremn.models.rollout.print_log', lambda message, *args: logged.append(message))
    model = cases.build(cases.small_config(cases.MASKTRACK))
    width = model.track_head.memory.key.in_features
    model.track_head.memory.memory = Charging(7, train_slots=7, key_channels=width, value_channels=width)
    found = losses_of(model, items[0])
    assert found['loss_slots'] > 0 and found['loss_slots'].requires_grad
    assert '6 frames offered, 7 slots, 0 forced choices' in logged[0] and len(logged) == 1


@pytest.mark.parametrize('without', ['key', 'reference'])
def test_a_frame_without_objects_has_a_loss_of_zero(without, items):
    model = cases.build(cases.small_config(cases.MASKTRACK))
    inputs = cases.batch(model, [copy.deepcopy(items[0])], training=True)
    sample = inputs['data_samples'][0]
    frame = (sample.get_key_frames() if without == 'key' else sample.get_ref_frames())[0]
    frame.gt_instances = frame.gt_instances[:0]
    features = model.detector.extract_feat(inputs['inputs'][:, 0])
    loss, _ = model.track_head.train().memory_loss(features, features, [sample])
    loss.backward()
    assert float(loss) == 0 and all(p.grad is not None for p in model.track_head.memory.parameters())


@pytest.mark.parametrize('kind', KINDS)
def test_one_slot_predicts_what_mmdets_tracker_does(kind, items):
    plain = cases.build(plain_config(KINDS[kind])).eval()
    cfg = plain_config(KINDS[kind])
    memory = dict(type='SlotMemory', num_slots=1, selector=dict(type='FIFOSelector'))
    cfg.model.tracker = dict(type='mmstremn.MemoryTracker', memory=memory, num_frames_retain=10)
    ours = cases.build(cfg).eval()
    ours.load_state_dict(plain.state_dict())
    thresholds = dict(init_score_thr=0.3, obj_score_thr=0.2)
    if kind == 'qdtrack':
        vars(plain.tracker).update(thresholds)
        ours.tracker.matcher = mmstremn.adapters.mmdet.BiSoftmaxMatcher(**thresholds)
    results = [predict(model, items[1]) for model in (plain, ours)]
    assert sum(len(frame) for frame in results[0]) > 4
    for one, other in zip(*results, strict=True):
        _, counts = one.instances_id.unique(return_counts=True)
        if (counts > 1).any():  # mmdet gave two boxes the same identity, and then goes another way
            assert kind == 'masktrack'
            break
        assert one.instances_id.tolist() == other.instances_id.tolist()
        assert torch.equal(one.bboxes, other.bboxes)


@torch.no_grad()
def predict(model, item):
    inputs = cases.batch(model, [copy.deepcopy(item)], training=False)
    return [sample.pred_track_instances for sample in model(**inputs, mode='predict')[0]]


def test_frame_by_frame_is_the_same_as_whole_videos(data):
    """As with mmdet's TrackImgSampler."""
    cfg = cases.small_config(cases.MASKTRACK)
    model, videos = cases.build(cfg).eval(), cases.dataset(data, cfg, test=True)
    whole = predict(model, videos[1])
    single = [predict(model, videos[1, index])[0] for index in range(4)]
    for one, other in zip(whole, single, strict=True):
        assert one.instances_id.tolist() == other.instances_id.tolist() != []
    with pytest.raises(ValueError, match='frame 1 of video 2 comes after frame 3'):
        predict(model, videos[1, 1])


def test_a_run_of_mmengine(data, tmp_path):
    """Two iterations of training, a test with mmdet's metric, and the same test from the saved checkpoint."""
    cfg = cases.small_config(cases.MASKTRACK)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        loader.dataset.update(data_root='', ann_file=str(data), data_prefix=dict(img_path=str(data.parent)))
        for _, part in cases.walk(loader.dataset.pipeline):
            if part.get('type') == 'Resize':
                part['scale'] = cases.SIZE[::-1]
    cfg.test_evaluator.update(format_only=False, outfile_prefix=None)
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
    cfg.param_scheduler = []
    cfg.default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=2, by_epoch=False))
    cfg.update(
        work_dir=str(tmp_path), experiment_name=tmp_path.name, randomness=dict(seed=0), log_level='WARNING'
    )
    runner = Runner.from_cfg(cfg)
    runner.train()
    scores = runner.test()
    assert 0 <= scores['youtube_vis/segm_mAP'] <= 1
    state = torch.load(tmp_path / 'iter_2.pth', weights_only=False)['state_dict']
    assert 'track_head.memory.key.weight' in state
    cfg.load_from, cfg.experiment_name = str(tmp_path / 'iter_2.pth'), f'{tmp_path.name}-again'
    assert Runner.from_cfg(cfg).test() == scores


def test_the_configs_are_short_and_build():
    paths = sorted(cases.CONFIGS.glob('*.py'))
    assert {path.stem for path in paths} >= {'masktrack_rcnn_memory', 'masktrack_rcnn_fifo', 'qdtrack_memory'}
    for path in paths:
        assert len(path.read_text().splitlines()) <= 25, path
        model = cases.build_without_weights(path)
        assert type(model).__name__ in ('MaskTrackRCNN', 'QDTrack', 'MemoryMaskPropagation')
