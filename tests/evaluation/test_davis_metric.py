"""DAVISMetric, the scores of one video, and the copy-first-mask baseline."""

import json

import numpy as np
import pytest
from mmengine.evaluator import Evaluator

from mmstremn.evaluation import (
    MEASURES,
    DAVISMetric,
    boundary_f_measure,
    copy_first_mask,
    davis_statistics,
    evaluate_video,
    global_measures,
    region_similarity,
    write_pngs,
)
from mmstremn.registry import METRICS, build
from mmstremn.structures import VOSDataSample
from mmstremn.structures.video import Video
from mmstremn.utils import DAVIS_PALETTE, decode_palette_png, encode_palette_png


class ArrayVideo(Video):
    """A video from a (T, H, W) array of ids; frames listed in ``unannotated`` have no mask."""

    def __init__(self, ids, name='clip', unannotated=()):
        self.ids, self.name, self.unannotated = ids, name, unannotated
        self.num_frames, self.size = len(ids), ids.shape[1:]

    def frame(self, index):
        raise AssertionError('the evaluation must not decode frames')

    def mask(self, index):
        return None if index in self.unannotated else self.ids[index]


def moving_squares(frames=9, ids=(1, 2), starts=(0, 0), size=(30, 40)):
    """(T, H, W) uint8: one square per id, moving one pixel a frame, from its start frame on."""
    video = np.zeros((frames, *size), np.uint8)
    for place, (object_id, start) in enumerate(zip(ids, starts, strict=True)):
        for index in range(start, frames):
            top, left = 2 + 14 * place, 3 + index
            video[index, top : top + 10, left : left + 10] = object_id
    return video


def encode(ids):
    return [encode_palette_png(mask) for mask in ids]


def measures_of(gt, pred):
    j, f = davis_statistics(region_similarity(gt, pred)), davis_statistics(boundary_f_measure(gt, pred))
    return dict(zip(MEASURES, ((j.mean + f.mean) / 2, *j, *f), strict=True))


def evaluate(metric, videos, predictions, **metainfo):
    """The metric's figures as mmengine's loops get them."""
    evaluator = Evaluator(metric)
    for video, pred_masks in zip(videos, predictions, strict=True):
        sample = VOSDataSample(metainfo=dict(video_name=video.name, **metainfo))
        sample.pred_masks = pred_masks
        evaluator.process(data_samples=[sample], data_batch=dict(inputs=[video], data_samples=[sample]))
    return evaluator.evaluate(len(videos))


def test_perfect_predictions_score_one():
    ids = moving_squares()
    scores = evaluate_video(ArrayVideo(ids), encode(ids))
    for measures in (*scores['objects'].values(), scores['mean']):
        assert [measures[name] for name in MEASURES] == [1, 1, 1, 0, 1, 1, 0]


def test_first_and_last_frame_are_not_scored_and_ids_match_directly():
    gt = moving_squares(ids=(3, 200))
    pred = np.roll(gt, 2, axis=2)
    video = ArrayVideo(gt)
    scores = evaluate_video(video, encode(pred))
    assert list(scores['objects']) == [3, 200]
    for object_id in (3, 200):
        expected = measures_of(gt[1:-1] == object_id, pred[1:-1] == object_id)
        assert scores['objects'][object_id] == pytest.approx(expected | {'num_scored': 7})
    pred[[0, -1]] = 0
    assert evaluate_video(video, encode(pred)) == scores
    swapped = np.where(pred == 3, 200, np.where(pred == 200, 3, 0)).astype(np.uint8)
    assert evaluate_video(video, encode(swapped))['mean']['J-Mean'] == 0


def test_a_late_object_is_scored_from_the_frame_after_its_prompt():
    gt = moving_squares(starts=(0, 4))
    pred = gt.copy()
    pred[4][pred[4] == 2] = 0  # the prompted frame of object 2
    pred[1, 20:, 30:] = 2  # before its prompt
    scores = evaluate_video(ArrayVideo(gt), encode(pred))
    assert scores['objects'][2]['num_scored'] == 3
    assert scores['objects'][2]['J-Mean'] == 1
    pred[5][pred[5] == 2] = 0
    assert evaluate_video(ArrayVideo(gt), encode(pred))['objects'][2]['J-Mean'] == pytest.approx(2 / 3)


def test_frames_without_a_mask_are_not_scored():
    gt = moving_squares()
    pred = gt.copy()
    pred[[2, 3]] = 0
    scores = evaluate_video(ArrayVideo(gt, unannotated=(2, 3)), encode(pred))
    assert scores['objects'][1]['num_scored'] == 5
    assert scores['mean']['J&F'] == 1


def test_void_pixels_do_not_count():
    gt = moving_squares()
    pred = gt.copy()
    pred[:, 26:] = 1
    video = ArrayVideo(gt)
    assert evaluate_video(video, encode(pred))['mean']['J-Mean'] < 1
    gt[:, 26:] = 255
    video = ArrayVideo(gt)
    scores = evaluate_video(video, encode(np.where(gt == 255, 1, gt).astype(np.uint8)))
    assert list(scores['objects']) == [1, 2]
    assert scores['mean']['J-Mean'] == scores['mean']['F-Mean'] == 1


def test_an_object_without_a_scored_frame_is_listed_and_not_averaged():
    gt = moving_squares(starts=(0, 8))
    scores = evaluate_video(ArrayVideo(gt), encode(gt))
    assert scores['unscored_objects'] == [2]
    assert scores['mean']['J&F'] == 1


def test_global_figures_are_means_over_objects_not_videos():
    one, two = moving_squares(ids=(1,), starts=(0,)), moving_squares()
    videos = [ArrayVideo(one, 'one'), ArrayVideo(two, 'two')]
    predictions = [encode(one), encode(np.zeros_like(two))]
    figures = evaluate(DAVISMetric(), videos, predictions)
    assert set(figures) == {f'DAVIS/{name}' for name in MEASURES}
    assert figures['DAVIS/J-Mean'] == pytest.approx(1 / 3)
    assert all(type(value) is float for value in figures.values())


def test_registered_and_writes_json_and_fps(tmp_path):
    out_file = tmp_path / 'new' / 'davis.json'
    metric = build(dict(type='DAVISMetric', out_file=str(out_file)), METRICS)
    gt = moving_squares()
    video = ArrayVideo(gt, 'two')
    figures = evaluate(metric, [video], [encode(np.roll(gt, 1, axis=1))], frame_seconds=0.05)
    assert figures['DAVIS/fps'] == pytest.approx(20)
    written = json.loads(out_file.read_text())
    assert {f'DAVIS/{name}': value for name, value in written['metrics'].items()} == figures
    (record,) = written['videos']
    assert record['name'] == 'two' and set(record['objects']) == {'1', '2'}
    assert record['mean']['F-Mean'] == pytest.approx(figures['DAVIS/F-Mean'])
    assert record['objects']['1']['num_scored'] == 7


def test_fps_are_all_frames_over_all_seconds():
    """Not the mean of the videos: 9 frames at 10 a second and 3 at 100 are 12 in .93 seconds."""
    metric = DAVISMetric()
    for frames, seconds in ((9, 0.1), (3, 0.01)):
        gt = moving_squares(frames)
        metric.process(
            dict(inputs=[ArrayVideo(gt)]), [dict(pred_masks=encode(gt), frame_seconds=seconds, state_bytes=7)]
        )
    assert metric.evaluate(2)['DAVIS/fps'] == pytest.approx(12 / 0.93)


class BrokenVideo(ArrayVideo):
    """Its mask 4 cannot be read."""

    def mask(self, index):
        if index == 4:
            raise OSError('00004.png: broken')
        return super().mask(index)


def test_videos_that_cannot_be_scored_cost_no_masks_and_no_other_figures(tmp_path, monkeypatch):
    gt, said = moving_squares(), []
    monkeypatch.setattr('mmstremn.evaluation.video_scores.log_warning', said.append)
    small = ArrayVideo(gt, 'other_size')
    small.size = (15, 20)
    videos = [
        ArrayVideo(moving_squares(frames=2), 'short'),
        ArrayVideo(gt, 'good'),
        ArrayVideo(gt, 'first_only', unannotated=range(1, 9)),
        BrokenVideo(gt, 'broken'),
        small,
    ]
    metric = DAVISMetric(out_file=str(tmp_path / 'davis.json'), png_dir=str(tmp_path / 'png'))
    figures = evaluate(metric, videos, [encode(video.ids) for video in videos])
    assert figures['DAVIS/J&F'] == 1
    for video in videos:
        assert len([*(tmp_path / 'png' / video.name).iterdir()]) == video.num_frames
    written = json.loads((tmp_path / 'davis.json').read_text())
    assert [video['name'] for video in written['videos']] == ['good']
    assert set(written['unscored']) == {'short', 'first_only', 'broken', 'other_size'}
    assert '00004.png: broken' in written['unscored']['broken']
    assert said == [
        'DAVISMetric: 4 of 5 videos are not scored and count in no figure: '
        + '; '.join(written['unscored'][name] for name in ('short', 'first_only', 'broken', 'other_size'))
    ]


def test_a_damaged_mask_prompts_nothing_and_a_damaged_first_one_is_an_error():
    video = BrokenVideo(moving_squares(), 'broken')
    assert list(video.prompts) == [0] and video.object_ids == ArrayVideo(moving_squares(), 'a').object_ids
    late = BrokenVideo(moving_squares(), 'late', unannotated=range(4))
    with pytest.raises(OSError, match='broken'):
        late.prompts  # noqa: B018


def test_without_any_ground_truth_there_are_masks_and_no_figures(tmp_path):
    videos = [ArrayVideo(moving_squares(), name, unannotated=range(1, 9)) for name in 'ab']
    metric = DAVISMetric(png_dir=str(tmp_path))
    assert evaluate(metric, videos, [encode(video.ids) for video in videos]) == {}
    assert len([*tmp_path.glob('*/*.png')]) == 18


def test_masks_of_an_earlier_run_go_and_other_files_stay(tmp_path):
    (tmp_path / 'clip').mkdir()
    for name in ('00012.png', 'notes.txt'):
        (tmp_path / 'clip' / name).write_text('earlier')
    write_pngs(tmp_path, ArrayVideo(moving_squares(frames=3)), encode(moving_squares(frames=3)))
    names = {path.name for path in (tmp_path / 'clip').iterdir()}
    assert names == {'00000.png', '00001.png', '00002.png', 'notes.txt'}
    assert [path.name for path in tmp_path.iterdir()] == ['clip']


def test_one_result_a_video_and_padded_repeats_are_dropped():
    gt = moving_squares()
    videos = [ArrayVideo(gt, 'a'), ArrayVideo(gt, 'b'), ArrayVideo(gt, 'a')]
    metric = DAVISMetric()
    samples = [dict(pred_masks=encode(ids)) for ids in (gt, np.zeros_like(gt), gt)]
    metric.process(dict(inputs=videos), samples)
    assert [scores['name'] for scores in metric.results] == ['a', 'b', 'a']
    assert metric.evaluate(2)['DAVIS/J-Mean'] == pytest.approx(0.5)


def test_no_results_are_an_error():
    with pytest.raises(ValueError, match='at least one video'):
        DAVISMetric().compute_metrics([])


def test_frames_with_dots_in_their_names_keep_masks_of_their_own(tmp_path):
    gt = moving_squares(frames=3)
    video = ArrayVideo(gt, 'clip')
    video.frame_names = [f'take.{index:04d}' for index in range(3)]
    write_pngs(tmp_path, video, encode(gt))
    assert sorted(path.name for path in (tmp_path / 'clip').iterdir()) == [
        f'take.{index:04d}.png' for index in range(3)
    ]


@pytest.mark.parametrize('kind', ['frame_files', 'mask_files'])
def test_frames_and_true_masks_are_not_replaced(tmp_path, kind):
    gt = moving_squares(frames=3)
    video, path = ArrayVideo(gt, 'clip'), tmp_path / 'clip/00001.png'
    path.parent.mkdir()
    path.write_text('true')
    setattr(video, kind, [str(path)] if kind == 'frame_files' else {1: str(path)})
    with pytest.raises(ValueError, match='clip holds frames or masks of the video'):
        write_pngs(tmp_path, video, encode(gt))
    assert path.read_text() == 'true'


def test_png_dir_has_the_layout_of_davis(tmp_path):
    gt = moving_squares()
    numbered, named = ArrayVideo(gt, 'numbered'), ArrayVideo(gt, 'named')
    named.frame_names = [f'{10 * index:06d}.jpg' for index in range(len(gt))]
    predictions = encode(gt)
    evaluate(DAVISMetric(png_dir=str(tmp_path)), [numbered, named], [predictions, predictions])
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*.png'))
    assert files[:2] == ['named/000000.png', 'named/000010.png'] and len(files) == 18
    assert (tmp_path / 'numbered' / '00003.png').read_bytes() == predictions[3]


def test_a_mask_too_few_is_no_folder_of_masks(tmp_path):
    video = ArrayVideo(moving_squares(), 'clip')
    video.frame_names = [f'{index}.jpg' for index in range(9)]
    with pytest.raises(ValueError, match='zip'):
        write_pngs(tmp_path, video, encode(video.ids)[:-1])
    assert not [*tmp_path.iterdir()]


def test_copy_first_mask_copies_every_prompt_forward():
    gt = moving_squares(starts=(0, 4))
    gt[4:, 18:24, 0:20] = 2  # drawn over a part of the first frame's background
    masks = [decode_palette_png(png) for png in copy_first_mask(ArrayVideo(gt))]
    assert len(masks) == len(gt)
    for index, mask in enumerate(masks):
        expected = gt[0].copy()
        if index >= 4:
            expected[gt[4] == 2] = 2
        np.testing.assert_array_equal(mask, expected)


def test_copy_first_mask_replaces_an_object_that_is_prompted_again():
    gt = moving_squares()
    video = ArrayVideo(gt)
    video.prompts = {0: gt[0], 3: np.where(gt[3] == 2, 2, 0).astype(np.uint8)}
    mask = decode_palette_png(copy_first_mask(video)[-1])
    np.testing.assert_array_equal(mask == 1, gt[0] == 1)
    np.testing.assert_array_equal(mask == 2, gt[3] == 2)


def test_copy_first_mask_before_the_first_prompt_is_background():
    gt = moving_squares(starts=(2, 2))
    predictions = copy_first_mask(ArrayVideo(gt))
    assert not decode_palette_png(predictions[1]).any() and decode_palette_png(predictions[2]).any()
    assert 0 < global_measures([evaluate_video(ArrayVideo(gt), predictions)])['J-Mean'] < 1


def test_bad_predictions_are_named():
    gt = moving_squares()
    video, good = ArrayVideo(gt, 'goat'), encode(gt)
    with pytest.raises(ValueError, match="video 'goat': expected one predicted mask per frame, 9, got 8"):
        evaluate_video(video, good[:-1])
    small = [*good[:3], encode_palette_png(gt[3, ::2]), *good[4:]]
    with pytest.raises(ValueError, match=r"video 'goat', frame 3: expected .* \(30, 40\), got \(15, 40\)"):
        evaluate_video(video, small)
    for bad in (b'no image', good[4][:60], None):
        with pytest.raises(
            ValueError, match="video 'goat', frame 4: predicted mask: expected the bytes of a palette"
        ):
            evaluate_video(video, [*good[:4], bad, *good[5:]])
    with pytest.raises(ValueError, match="video 'goat': expected a data sample with pred_masks"):
        DAVISMetric().process(dict(inputs=[video]), [dict(video_name='goat')])


@pytest.mark.parametrize(
    'video',
    [
        ArrayVideo(moving_squares(frames=2), 'short'),
        ArrayVideo(moving_squares(), 'short', unannotated=range(1, 9)),
        ArrayVideo(np.zeros((9, 30, 40), np.uint8), 'short'),
    ],
)
def test_a_video_without_a_scored_frame_is_named(video):
    with pytest.raises(ValueError, match="video 'short': expected an annotated frame"):
        evaluate_video(video, encode(video.ids))


def test_palette_png_round_trip():
    ids = np.random.default_rng(0).integers(0, 256, (17, 23), dtype=np.uint8)
    np.testing.assert_array_equal(decode_palette_png(encode_palette_png(ids)), ids)
    colours = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128)]
    assert [tuple(colour) for colour in DAVIS_PALETTE[:5].tolist()] == colours
    assert DAVIS_PALETTE[255].tolist() == [224, 224, 192]


def test_bad_palette_masks_are_named():
    with pytest.raises(ValueError, match=r'uint8 array of object ids, got \(3, 4\) int64'):
        encode_palette_png(np.zeros((3, 4), np.int64))
    with pytest.raises(ValueError, match='expected the bytes of a palette PNG'):
        decode_palette_png(b'')
