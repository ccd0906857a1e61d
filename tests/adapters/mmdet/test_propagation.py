"""Masks of an mmdet detector carried on by a VOSegmentor: the output of mmdet's VIS, scored by its metric."""

import copy

import numpy as np
import pytest
import torch
from helpers import tracking_cases as cases
from helpers.vos_cases import tiny_config, tiny_model as tiny_model_of_our_scope
from mmdet.evaluation import YouTubeVISMetric
from mmdet.registry import MODELS as MMDET
from mmdet.structures import DetDataSample
from mmengine.registry import DefaultScope
from mmengine.runner import save_checkpoint
from mmengine.structures import InstanceData

from mmstremn.adapters.mmdet.mask_propagation import _overlaps
from mmstremn.models.segmentation.stream import VOSStream

PROPAGATION = cases.CONFIGS / 'mask_rcnn_propagation.py'
SEGMENTOR = tiny_config() | dict(type='mmstremn.VOSegmentor')


@MMDET.register_module(force=True)
class TrueDetector(torch.nn.Module):
    """Gives the truth of ``cases.scene`` in pixels of the original frame.

    Args:
        finds: By frame, the objects that it finds; None: all.
        masks: Whether it gives masks.
    """

    def __init__(self, finds=None, masks=True):
        super().__init__()
        self.finds, self.masks, self.asked = finds, masks, []

    def predict(self, inputs, data_samples, rescale=True):
        index = data_samples[0].frame_id
        self.asked.append(index)
        shown = [0, 1] if self.finds is None else self.finds.get(index, [])
        masks = torch.from_numpy(cases.scene(index)[1])[shown]
        found = InstanceData(bboxes=torch.rand(len(shown), 4), scores=0.9 - 0.1 * torch.tensor(shown))
        found.labels = torch.tensor(shown, dtype=torch.long)
        if self.masks:
            found.masks = masks
        data_samples[0].pred_instances = found
        return data_samples


@pytest.fixture(autouse=True)
def mmdet_scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    path = cases.write_youtube_vis(tmp_path_factory.mktemp('vis'), videos=2, frames=6)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return cases.dataset(path, cases.small_config(PROPAGATION), test=True)


def tiny_model(seed=0):
    with DefaultScope.overwrite_default_scope('mmstremn'):
        return tiny_model_of_our_scope(seed=seed)


def model_of(**settings):
    """A model with a true detector and the weights of a tiny segmentor that make structured masks."""
    detector = dict(type='TrueDetector') | settings.pop('detector', {})
    cfg = cases.Config.fromfile(PROPAGATION)
    cfg.model.pop('detector')
    cfg.model.pop('segmentor')
    cfg.model.update(detector=detector, segmentor=SEGMENTOR, **settings)
    model = MMDET.build(cfg.model).eval()
    model.segmentor.load_state_dict(tiny_model().state_dict())
    return model


def predict(model, item, index=None):
    inputs = cases.batch(model, [copy.deepcopy(item)], training=False)
    return [sample.pred_track_instances for sample in model(**inputs, mode='predict')[0]]


def expected_ids(frames, prompts):
    """What the segmentor's own stream says of the frames."""
    stream = VOSStream(tiny_model())
    return [stream.step(frame, prompts.get(index)) for index, frame in enumerate(frames)]


def ids_of(found):
    """(H, W) ids, the number of an instance plus one."""
    ids = torch.zeros(cases.SIZE, dtype=torch.long)
    for number, mask in zip(found.instances_id.tolist(), found.masks, strict=True):
        ids[mask] = number + 1
    return ids


def test_the_segmentors_stream_carries_the_detectors_masks(videos):
    model = model_of(detect_every=None)
    results = predict(model, videos[0])
    scenes = [cases.scene(index) for index in range(6)]
    prompt = (scenes[0][1] * np.array([1, 2], np.uint8)[:, None, None]).max(0)
    expected = expected_ids([frame for frame, _ in scenes], {0: prompt})
    for index, (found, ids) in enumerate(zip(results, expected, strict=True)):
        assert torch.equal(ids_of(found), ids.long()), index
        assert found.labels.tolist() == found.instances_id.tolist()
        assert torch.allclose(found.scores, 0.9 - 0.1 * found.instances_id)
        for box, mask in zip(found.bboxes, found.masks, strict=True):
            rows, columns = mask.nonzero().unbind(1)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert torch.equal(results[0].masks, torch.from_numpy(scenes[0][1]))
    assert model.detector.asked == [0]


def test_new_objects_are_added_when_the_detector_looks(videos):
    model = model_of(detect_every=2, detector=dict(finds={1: [0], 3: [1]}))
    results = predict(model, videos[0])
    assert model.detector.asked == [0, 1, 3, 5]  # every frame until something is found, then every second
    assert not len(results[0].masks) and results[0].masks.shape[1:] == cases.SIZE
    assert results[1].instances_id.tolist() == [0] and not any(
        (found.instances_id > 0).any() for found in results[1:3]
    )
    place = results[3].instances_id.tolist().index(1)
    assert results[3].labels[place] == 1
    assert torch.equal(results[3].masks[place], torch.from_numpy(cases.scene(3)[1][1]))
    scenes = [cases.scene(index) for index in range(1, 6)]
    prompts = {0: scenes[0][1][0] * np.uint8(1), 2: scenes[2][1][1] * np.uint8(2)}
    for found, ids in zip(results[1:], expected_ids([frame for frame, _ in scenes], prompts), strict=True):
        assert torch.equal(ids_of(found), ids.long())


def test_what_is_known_is_not_new():
    ids = torch.zeros(8, 8, dtype=torch.uint8)
    ids[:4, :4] = 2
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:4, 2:6] = True  # half of object 2: an IoU of 8 / 24
    assert _overlaps(mask, ids, 0.3) and not _overlaps(mask, ids, 0.4)
    assert not _overlaps(~mask & (ids == 0), ids, 0.01) and not _overlaps(mask, None, 0.3)


def test_frame_by_frame_is_the_same_and_a_new_video_begins_anew(videos):
    model = model_of(detect_every=2)
    whole = [predict(model, videos[number]) for number in (1, 0)]
    single = [[predict(model, videos[number, index])[0] for index in range(6)] for number in (1, 0)]
    for one, other in zip([*whole[0], *whole[1]], [*single[0], *single[1]], strict=True):
        assert (
            torch.equal(one.masks, other.masks) and one.instances_id.tolist() == other.instances_id.tolist()
        )


def test_masks_are_given_back_in_the_size_of_the_frame(videos):
    """The pipeline halves the frames."""
    cfg = cases.small_config(PROPAGATION)
    pipeline = cfg.test_dataloader.dataset.pipeline
    for _, part in cases.walk(pipeline):
        if part.get('type') == 'Resize':
            part['scale'] = (48, 32)
    from mmdet.registry import DATASETS

    folder = videos.data_prefix['img_path']
    half = DATASETS.build(
        dict(
            type='YouTubeVISDataset',
            dataset_version='2019',
            ann_file=f'{folder}/annotations.json',
            data_prefix=dict(img_path=folder),
            test_mode=True,
            pipeline=pipeline,
        )
    )
    found = predict(model_of(detect_every=None), half[0])[0]
    assert found.masks.shape[1:] == cases.SIZE
    truth = torch.from_numpy(cases.scene(0)[1])
    iou = (found.masks & truth).sum((1, 2)) / (found.masks | truth).sum((1, 2))
    assert (iou > 0.85).all()


def test_mmdets_metric_scores_it(videos):
    """The truth as output scores 1; the untrained segmentor less."""
    scores = {}
    for name in ('truth', 'propagated'):
        metric = YouTubeVISMetric(metric_items=['mAP', 'AR@10'])
        metric.dataset_meta = videos.metainfo
        model = model_of(detect_every=None)
        for number in range(2):
            inputs = cases.batch(model, [copy.deepcopy(videos[number])], training=False)
            result = model(**inputs, mode='predict')[0]
            for index, sample in enumerate(result):
                if name == 'truth':
                    sample.pred_track_instances = true_instances(index + 2 * number)
            metric.process({}, [dict(video_data_samples=list(result))])
        scores[name] = metric.evaluate(size=2)
    assert scores['truth']['youtube_vis/segm_mAP'] == 1
    assert 0 <= scores['propagated']['youtube_vis/segm_mAP'] < 1


def true_instances(index):
    masks = torch.from_numpy(cases.scene(index)[1])
    return InstanceData(
        bboxes=torch.zeros(2, 4),
        scores=torch.ones(2),
        labels=torch.arange(2),
        masks=masks,
        instances_id=torch.arange(2),
    )


def test_a_real_mask_rcnn_and_checkpoints(videos, tmp_path):
    """Also a checkpoint of MaskTrack R-CNN, whose detector is a part of it."""
    source = cases.build(cases.small_config(cases.MASKTRACK), seed=3)
    save_checkpoint(source.state_dict(), str(tmp_path / 'detector.pth'))
    save_checkpoint(tiny_model(seed=5).state_dict(), str(tmp_path / 'segmentor.pth'))
    cfg = cases.small_config(PROPAGATION)
    files = {f'{name}_checkpoint': str(tmp_path / f'{name}.pth') for name in ('detector', 'segmentor')}
    cfg.model.pop('segmentor')
    cfg.model.update(segmentor=SEGMENTOR, score_thr=0.01, **files)
    model = MMDET.build(cfg.model).eval()
    for name, weight in source.detector.state_dict().items():
        assert torch.equal(model.detector.state_dict()[name], weight), name
    assert torch.equal(model.segmentor.decoder.predict.weight, tiny_model(seed=5).decoder.predict.weight)
    results = predict(model, videos[0])
    assert any(len(found) for found in results)
    for found in results:
        assert set(found.keys()) == {'bboxes', 'labels', 'scores', 'masks', 'instances_id'}
        assert found.masks.shape[1:] == cases.SIZE and (found.masks.sum(0) <= 1).all()


class TestBadInput:
    """Errors that say what was expected."""

    def test_settings(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r'segmentor_checkpoint: no such file .*none\.pth'):
            model_of(segmentor_checkpoint=str(tmp_path / 'none.pth'))
        with pytest.raises(ValueError, match='detect_every must be at least 1 or None, got 0'):
            model_of(detect_every=0)

    def test_calls(self, videos):
        model = model_of(detector=dict(masks=False))
        with pytest.raises(TypeError, match='TrueDetector gives no masks'):
            predict(model, videos[0])
        with pytest.raises(NotImplementedError, match='train the detector with mmdet'):
            model(torch.zeros(1, 1, 3, 32, 32), [], mode='loss')
        with pytest.raises(ValueError, match='expected 1 video'):
            model(torch.zeros(2, 1, 3, 32, 32), [DetDataSample()] * 2, mode='predict')
        with pytest.raises(ValueError, match='begins with frame 2, expected frame 0'):
            predict(model_of(), videos[0, 2])
