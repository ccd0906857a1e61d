"""YouTube-VOS: videos, training clips, mixing with DAVIS, the metric and the submission."""

import io
import json
import logging
import zipfile

import numpy as np
import pytest
import torch
from helpers.davis_tree import SIZE, add_sequence, draw_ids, save_ids
from helpers.youtube_vos_tree import add_video, edit_meta
from mmengine.evaluator import Evaluator
from PIL import Image

from mmstremn.datasets import DAVISDataset, SampleRequest, WeightedVOSDataset, YouTubeVOSDataset
from mmstremn.datasets.vos.weighting import WeightedIndex
from mmstremn.evaluation import YouTubeVOSMetric, youtube_vos_metric
from mmstremn.models.segmentation.losses import BootstrappedCEDiceLoss
from mmstremn.registry import DATASETS, METRICS, build
from mmstremn.structures import VOSDataSample
from mmstremn.structures.video import VOID
from mmstremn.utils import decode_palette_png, encode_palette_png

SMALL = dict(min_object_area=16)


@pytest.fixture
def root(tmp_path):
    """Ids with a gap; object 3 is labelled from the 4th annotated frame on."""
    add_video(tmp_path / 'train', 'late', {1: 0, 3: 3})
    add_video(tmp_path / 'train', 'two', {1: 0, 2: 0})
    return tmp_path


def clip(dataset, index, seed, skip=None):
    item = dataset[SampleRequest(index, seed, skip)]
    return item['inputs'], item['data_samples']


# Videos


def test_meta_json_says_which_objects_there_are_and_when_they_appear(root):
    dataset = build(dict(type='YouTubeVOSDataset', data_root=str(root), test_mode=True), DATASETS)
    item = dataset[0]
    video = item['inputs']
    assert (video.name, video.num_frames, video.size) == ('late', 8, SIZE)
    assert item['data_samples'].object_ids == [1, 3]
    assert list(video.prompts) == [0, 3]
    assert np.array_equal(video.prompts[3], np.where(draw_ids(3, (1, 3)) == 3, 3, 0))
    assert video.frame_names[:3] == ['00000', '00005', '00010']


def test_an_object_that_its_first_mask_does_not_show_is_prompted_in_the_next(root):
    edit_meta(root / 'train', lambda videos: videos['late']['objects']['3']['frames'].insert(0, '00005'))
    video = YouTubeVOSDataset(root, test_mode=True)[0]['inputs']
    assert list(video.prompts) == [0, 3]


def test_an_object_that_no_mask_shows_is_an_error(root):
    edit_meta(
        root / 'train',
        lambda videos: videos['two']['objects'].update({'7': dict(category='cat', frames=['00000'])}),
    )
    with pytest.raises(
        ValueError, match=r"video 'two': meta.json names the objects \[7\], no mask shows them"
    ):
        YouTubeVOSDataset(root, test_mode=True)[1]


def test_ids_that_meta_json_does_not_name_are_void(root):
    edit_meta(root / 'train', lambda videos: videos['two']['objects'].pop('2'))
    video = YouTubeVOSDataset(root, test_mode=True)[1]['inputs']
    assert video.object_ids == [1]
    assert np.array_equal(video.mask(0) == VOID, draw_ids(0, (1, 2)) == 2)


def test_all_frames_are_given_and_prompts_keep_their_names(tmp_path):
    add_video(tmp_path / 'valid', 'late', {1: 0, 2: 3}, all_frames=tmp_path / 'all/valid', prompts_only=True)
    video = YouTubeVOSDataset(tmp_path, split='valid', all_frames_root='all/valid', test_mode=True)[0][
        'inputs'
    ]
    assert video.num_frames == 36 and list(video.prompts) == [0, 15]
    assert [video.frame_names[index] for index in video.named_frames][:2] == ['00000', '00005']


def test_a_list_chooses_the_videos(root):
    (root / 'held_out.txt').write_text('two\n')
    assert YouTubeVOSDataset(root, videos='held_out.txt', test_mode=True)[0]['inputs'].name == 'two'
    (root / 'held_out.txt').write_text('two\nthree\n')
    with pytest.raises(ValueError, match=r'held_out.txt: three: expected names of videos in .*meta.json'):
        YouTubeVOSDataset(root, videos='held_out.txt')


# Clips


def test_before_its_first_label_an_object_is_not_punished(root):
    """Backwards in time: object 3 is given, and in the frames before its first label it may be there
    unlabelled."""
    dataset = YouTubeVOSDataset(root, clip_length=8, max_skip=5, reverse_prob=1, **SMALL)
    _, sample = clip(dataset, 0, 0)
    assert sample.frame_indices == [7, 6, 5, 4, 3, 2, 1, 0] and sample.object_ids == [1, 3]
    for mask, index in zip(sample.masks, sample.frame_indices, strict=True):
        expected = draw_ids(index, (1, 3))
        known = expected == 1
        assert (mask.numpy()[known] == 1).all()
        if index < 3:
            assert (mask.numpy()[~known] == VOID).all()
        else:
            assert np.array_equal(mask.numpy(), np.where(expected == 3, 2, expected))
    logits = torch.randn(1, 8, 3, *SIZE, requires_grad=True)
    losses = BootstrappedCEDiceLoss()(logits, sample.masks[None], torch.ones(1, 2, dtype=torch.bool))
    sum(losses.values()).backward()
    unlabelled = torch.from_numpy(draw_ids(1, (1, 3)) == 3)
    place = sample.frame_indices.index(1)
    assert (logits.grad[0, place][:, unlabelled] == 0).all()
    assert (logits.grad[0, 0][:, unlabelled] != 0).any()


def test_forwards_objects_are_those_of_the_first_frame_and_nothing_is_void(root):
    dataset = YouTubeVOSDataset(root, clip_length=8, max_skip=5, reverse_prob=0, **SMALL)
    _, sample = clip(dataset, 0, 0)
    assert sample.object_ids == [1] and sample.masks.unique().tolist() == [0, 1]


def test_an_object_that_is_not_chosen_makes_nothing_void(root):
    dataset = YouTubeVOSDataset(root, clip_length=8, max_skip=5, max_objects=1, reverse_prob=1, **SMALL)
    samples = [clip(dataset, 0, seed)[1] for seed in range(6)]
    assert {tuple(sample.object_ids) for sample in samples} == {(1,), (3,)}
    for sample in samples:
        assert bool((sample.masks == VOID).any()) == (sample.object_ids == [3])


def test_the_largest_skip_counts_source_frames(root):
    dataset = YouTubeVOSDataset(root, clip_length=2, reverse_prob=0, **SMALL)

    def steps(skip):
        indices = [clip(dataset, 1, seed, skip)[1].frame_indices for seed in range(40)]
        return {b - a for a, b in indices}

    assert steps(4) == steps(5) == steps(9) == {1}
    assert steps(15) == {1, 2, 3}


def test_time_is_reversed_half_of_the_time_in_both_layouts(root):
    add_sequence(root, 'davis', [draw_ids(index) for index in range(8)])
    for dataset in (YouTubeVOSDataset(root, **SMALL), DAVISDataset(root, split='val', **SMALL)):
        index = len(dataset) - 1
        orders = [np.sign(np.diff(clip(dataset, index, seed)[1].frame_indices)) for seed in range(40)]
        assert all(abs(order.sum()) == 2 for order in orders)
        assert 10 < sum(order[0] < 0 for order in orders) < 30


def test_davis_and_youtube_vos_are_mixed_by_weight(root):
    add_sequence(root, 'davis', [draw_ids(index) for index in range(8)])
    parts = [
        dict(type='DAVISDataset', data_root=str(root), split='val'),
        dict(type='YouTubeVOSDataset', data_root=str(root)),
    ]
    parts = [part | SMALL for part in parts]
    config = dict(type='WeightedVOSDataset', datasets=parts, weights=[5, 1])
    dataset = DATASETS.build(config)
    assert len(dataset) == 5 + 2
    names = [dataset[SampleRequest(index, index)]['data_samples'].video_name for index in range(len(dataset))]
    assert names == ['davis'] * 5 + ['late', 'two']
    first = dataset[SampleRequest(5, 11, 20)]
    second = DATASETS.build(parts[1])[SampleRequest(0, 11, 20)]
    assert torch.equal(first['inputs'], second['inputs'])
    with pytest.raises(TypeError, match=r'WeightedVOSDataset\.weight: .* Did you mean weights\?'):
        DATASETS.build(dict(type='WeightedVOSDataset', datasets=parts, weight=[5, 1]))
    with pytest.raises(TypeError, match=r'WeightedVOSDataset\.no_such: there is no such argument'):
        DATASETS.build(config | dict(no_such=1))


def test_a_fractional_weight_draws_every_sample_equally_often():
    index = WeightedIndex([4, 2], [1.5, 0.5])
    assert len(index) == 6 + 1
    assert [index.locate(SampleRequest(i, 0)) for i in range(4)] == [(0, i) for i in range(4)]
    extra = [index.locate(SampleRequest(5, seed)) for seed in range(400)]
    assert {which for which, _ in extra} == {0}
    assert np.bincount([place for _, place in extra]).min() > 60
    assert {index.locate(SampleRequest(6, seed)) for seed in range(20)} == {(1, 0), (1, 1)}
    with pytest.raises(ValueError, match=r'weight 0.1 of 4 samples'):
        WeightedIndex([4], [0.1])
    with pytest.raises(ValueError, match='weights: expected 2'):
        WeightedVOSDataset([dict(), dict()], [1])


# Bad data


def test_missing_frames_and_masks_are_named(root):
    frame = root / 'train/JPEGImages/late/00020.jpg'
    saved = frame.read_bytes()
    frame.unlink()
    (root / 'train/Annotations/late/00020.png').unlink()
    with pytest.raises(
        FileNotFoundError, match=r"meta.json: object 1 of video 'late' names frame '00020', expected it in"
    ):
        YouTubeVOSDataset(root)
    frame.write_bytes(saved)
    (root / 'train/Annotations/late/00015.png').unlink()
    with pytest.raises(
        FileNotFoundError, match=r'late/00015.png: no such file, expected the first mask.*object 3'
    ):
        YouTubeVOSDataset(root)


def test_missing_video_and_mask_of_another_size_are_named(root):
    save_ids(root / 'train/Annotations/two/00010.png', draw_ids(2, size=(40, 60)))
    with pytest.raises(ValueError, match=r'two/00010.png: 60 x 40 pixels, expected 64 x 48'):
        YouTubeVOSDataset(root)
    edit_meta(root / 'train', lambda videos: videos.update(gone=videos['late']))
    with pytest.raises(ValueError, match=r'2 errors:(.|\n)*gone: no such folder(.|\n)*two/00010.png'):
        YouTubeVOSDataset(root)


@pytest.mark.parametrize(
    'text', ['', '[]', '{"shapes": []}', '{"videos": {"a": {}}}', '{"videos": {"a": {"objects": {"x": {}}}}}']
)
def test_meta_json_of_another_form_is_named(root, text):
    (root / 'train/meta.json').write_text(text)
    with pytest.raises(ValueError, match=r'meta.json: expected .*videos.*objects.*category.*frames'):
        YouTubeVOSDataset(root)


def test_meta_json_with_bad_objects_is_named(root):
    edit_meta(root / 'train', lambda videos: videos['late']['objects']['3'].update(frames=[]))
    with pytest.raises(ValueError, match="object 3 of video 'late': expected 'frames'"):
        YouTubeVOSDataset(root)
    edit_meta(root / 'train', lambda videos: videos['late'].update(objects={'255': dict(frames=['00000'])}))
    with pytest.raises(ValueError, match=r"object 255 of video 'late': expected an id in 1..254"):
        YouTubeVOSDataset(root)
    with pytest.raises(FileNotFoundError, match=r'test/meta.json: no such file'):
        YouTubeVOSDataset(root, split='test')


# The metric


def evaluate(metric, dataset, predict):
    """The metric's figures as mmengine's loops get them; ``predict`` gives the ids of one frame of a
    video."""
    evaluator = Evaluator(metric)
    for index in range(len(dataset)):
        video = dataset[index]['inputs']
        sample = VOSDataSample(metainfo=dict(video_name=video.name))
        sample.pred_masks = [encode_palette_png(predict(video, frame)) for frame in range(video.num_frames)]
        evaluator.process(data_samples=[sample], data_batch=dict(inputs=[video], data_samples=[sample]))
    return evaluator.evaluate(len(dataset))


def truth(video, frame):
    return video.mask(frame)


def test_seen_and_unseen_objects_and_their_mean(root, tmp_path):
    dataset = YouTubeVOSDataset(root, test_mode=True)
    metric = build(
        dict(type='YouTubeVOSMetric', seen_categories=['penguin'], out_file=str(tmp_path / 'out.json')),
        METRICS,
    )
    perfect = evaluate(metric, dataset, truth)
    assert perfect == {f'YouTubeVOS/{name}': 1 for name in ('J-Seen', 'F-Seen', 'J-Unseen', 'F-Unseen', 'G')}
    written = json.loads((tmp_path / 'out.json').read_text())['videos']
    assert {k: scores['num_scored'] for k, scores in written[0]['objects'].items()} == {'1': 7, '3': 4}

    def without_tractor(video, frame):  # id 2, of video 'two' alone: 1 of 4 objects
        return np.where(video.mask(frame) == 2, 0, video.mask(frame)).astype(np.uint8)

    figures = evaluate(YouTubeVOSMetric(['penguin']), dataset, without_tractor)
    assert figures['YouTubeVOS/J-Unseen'] == figures['YouTubeVOS/F-Unseen'] == 0
    assert figures['YouTubeVOS/J-Seen'] == 1 and figures['YouTubeVOS/G'] == 0.5


def test_an_object_counts_from_the_frame_after_it_appears_to_the_last(root, monkeypatch):
    dataset = YouTubeVOSDataset(root, test_mode=True)

    def wrong_until_prompted(video, frame):
        mask = video.mask(frame)
        return (
            np.where((frame <= 3) & (mask != 1), 3, mask).astype(np.uint8) if video.name == 'late' else mask
        )

    said = []
    monkeypatch.setattr(youtube_vos_metric, 'print_log', lambda text, **kwargs: said.append((text, kwargs)))
    figures = evaluate(YouTubeVOSMetric(['penguin', 'tractor']), dataset, wrong_until_prompted)
    missing = 'YouTubeVOSMetric: no object of unseen categories was scored, G is the mean of the others'
    assert said == [(missing, dict(logger='current', level=logging.WARNING))]
    assert (
        figures['YouTubeVOS/G'] == figures['YouTubeVOS/J-Seen'] == 1 and 'YouTubeVOS/J-Unseen' not in figures
    )

    def wrong_at_the_end(video, frame):
        mask = video.mask(frame)
        return np.zeros_like(mask) if frame == 7 else mask

    figures = evaluate(YouTubeVOSMetric(['penguin', 'tractor']), dataset, wrong_at_the_end)
    assert figures['YouTubeVOS/J-Seen'] == pytest.approx(np.mean([6 / 7, 3 / 4, 6 / 7, 6 / 7]))


def test_categories_are_read_from_the_training_set(root):
    assert YouTubeVOSMetric(str(root / 'train/meta.json')).seen_categories == {'penguin', 'tractor'}
    with pytest.raises(FileNotFoundError, match=r'no/meta.json'):
        YouTubeVOSMetric(str(root / 'no/meta.json'))


@pytest.mark.parametrize('all_frames', [False, True])
def test_submission_without_ground_truth(tmp_path, monkeypatch, all_frames):
    said = []
    monkeypatch.setattr(youtube_vos_metric, 'print_log', lambda text, logger: said.append((text, logger)))
    add_video(tmp_path / 'valid', 'late', {1: 0, 2: 3}, all_frames=tmp_path / 'all', prompts_only=True)
    palette = list(range(255, -1, -1)) * 3
    first = tmp_path / 'valid/Annotations/late/00000.png'
    image = Image.open(first)
    image.putpalette(palette)
    image.save(first)
    dataset = YouTubeVOSDataset(
        tmp_path, split='valid', all_frames_root=str(tmp_path / 'all'), test_mode=True
    )
    path = tmp_path / 'new/submission.zip'
    metric = YouTubeVOSMetric(['penguin'], zip_file=str(path), all_frames=all_frames)
    assert evaluate(metric, dataset, lambda video, frame: draw_ids(frame, (1, 2))[: SIZE[0]]) == {}
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        content = archive.read('Annotations/late/00010.png')
    assert said == [
        (f'YouTubeVOSMetric: {path} holds the masks of 1 videos', 'current'),
        ('YouTubeVOSMetric: no video has masks besides its prompts, so there are no figures', 'current'),
    ]
    step = 1 if all_frames else 5
    assert names == [f'Annotations/late/{index:05d}.png' for index in range(0, 36, step)]
    assert np.array_equal(decode_palette_png(content), draw_ids(10, (1, 2)))
    written = Image.open(io.BytesIO(content))
    assert written.mode == 'P' and written.getpalette() == palette


def test_submission_in_another_size_or_place_is_refused(root, tmp_path):
    with pytest.raises(ValueError, match=r'expected a path that ends in .zip'):
        YouTubeVOSMetric([], zip_file='results/')
    dataset = YouTubeVOSDataset(root, short_side=24, test_mode=True)
    with pytest.raises(
        ValueError, match=r"video 'late': expected masks of the size of its frames .*\(48, 64\).*\(24, 32\)"
    ):
        evaluate(YouTubeVOSMetric([], zip_file=str(tmp_path / 'a.zip')), dataset, truth)


def test_a_video_that_cannot_be_scored_costs_no_submission_and_no_other_figures(root, tmp_path):
    edit_meta(root / 'train', lambda videos: videos['two']['objects']['2'].pop('category'))
    dataset = YouTubeVOSDataset(root, test_mode=True)
    out = tmp_path / 'new'
    metric = YouTubeVOSMetric(['penguin'], zip_file=str(out / 'masks.zip'), out_file=str(out / 'scores.json'))
    assert evaluate(metric, dataset, truth)['YouTubeVOS/G'] == 1
    with zipfile.ZipFile(out / 'masks.zip') as archive:
        videos = {name.split('/')[1] for name in archive.namelist()}
    assert videos == {dataset[index]['inputs'].name for index in range(len(dataset))}
    written = json.loads((out / 'scores.json').read_text())
    assert 'object 2 has no category' in written['unscored']['two']
    assert 'two' not in [video['name'] for video in written['videos']]
    assert {path.name for path in out.iterdir()} == {'masks.zip', 'scores.json'}


def test_other_videos_missing_predictions_and_categories_are_named(root):
    add_sequence(root, 'davis', [draw_ids(index) for index in range(8)])
    davis = DAVISDataset(root, split='val', test_mode=True)
    with pytest.raises(ValueError, match="video 'davis': expected one of YouTubeVOSDataset"):
        evaluate(YouTubeVOSMetric([]), davis, truth)
    dataset = YouTubeVOSDataset(root, test_mode=True)
    with pytest.raises(ValueError, match="video 'late': expected a data sample with pred_masks"):
        YouTubeVOSMetric([]).process(dict(inputs=[dataset[0]['inputs']]), [dict()])
    with pytest.raises(ValueError, match='at least one video'):
        YouTubeVOSMetric([]).compute_metrics([])
