"""``mmstremn score``: masks in folders against true masks, by the rules of DAVIS."""

import json

import numpy as np
import pytest
from helpers.davis_tree import add_sequence, draw_ids, save_ids
from PIL import Image

from mmstremn.cli import main
from mmstremn.datasets import DAVISDataset
from mmstremn.evaluation import DAVISMetric
from mmstremn.utils import encode_palette_png

T = 6
IDS = {'bear': (1, 3), 'goat': (2,)}


def predicted_ids(name, index):
    """Two pixels too far to the left at every second frame."""
    return np.roll(draw_ids(index, IDS[name]), -2 * (index % 2), axis=1)


@pytest.fixture
def roots(tmp_path):
    """The folders of predicted and of true masks, and that of the data set."""
    for name, ids in IDS.items():
        add_sequence(tmp_path / 'data', name, [draw_ids(t, ids) for t in range(T)])
        for t in range(T):
            save_ids(tmp_path / f'pred/{name}/{t:05d}.png', predicted_ids(name, t))
    return tmp_path / 'pred', tmp_path / 'data/Annotations/480p', tmp_path / 'data'


def score(*argv):
    return main(['score', *map(str, argv)])


def test_figures_are_those_of_the_metric(roots, tmp_path):
    predicted, truth, data = roots
    metric = DAVISMetric(out_file=str(tmp_path / 'metric.json'))
    dataset = DAVISDataset(str(data), split='val', test_mode=True)
    for video in (dataset.get_data_info(index)['video'] for index in range(len(dataset))):
        masks = [encode_palette_png(predicted_ids(video.name, t)) for t in range(T)]
        metric.process(dict(inputs=[video]), [dict(pred_masks=masks)])
    metric.compute_metrics(metric.results)
    assert score(predicted, truth, '--out', tmp_path / 'scores.json') == 0
    scores = json.loads((tmp_path / 'scores.json').read_text())
    assert scores == json.loads((tmp_path / 'metric.json').read_text())
    assert 0 < scores['metrics']['J-Mean'] < 1 and scores['unscored'] == {}


def test_the_folders_of_segment_are_taken(roots, tmp_path):
    predicted, truth, _ = roots
    assert score(predicted, truth, '--out', tmp_path / 'plain.json') == 0
    for name in IDS:
        (predicted / name).rename(tmp_path / name)
        (predicted / name).mkdir()
        (tmp_path / name).rename(predicted / name / 'masks')
        Image.new('RGB', (7, 7)).save(predicted / name / 'slots.png')
    assert score(predicted, truth, '--out', tmp_path / 'nested.json') == 0
    assert (tmp_path / 'nested.json').read_text() == (tmp_path / 'plain.json').read_text()


def test_one_video_and_the_frames_that_do_not_count(roots, tmp_path, capsys):
    predicted, truth, _ = roots
    for frame in ('00000', f'{T - 1:05d}'):
        (predicted / f'bear/{frame}.png').unlink()
    assert score(predicted / 'bear', truth / 'bear', '--out', tmp_path / 'one.json') == 0
    scores = json.loads((tmp_path / 'one.json').read_text())
    one, table = scores['videos'], capsys.readouterr().out
    assert all(f'{100 * scores["metrics"][name]:.1f}' in table for name in ('J&F', 'J-Mean', 'F-Mean'))
    assert [(video['name'], list(video['objects'])) for video in one] == [('bear', ['1', '3'])]
    assert {scores['num_scored'] for scores in one[0]['objects'].values()} == {T - 2}


def test_true_masks_of_some_frames(roots, tmp_path):
    predicted, truth, _ = roots
    for index in (2, T - 1):
        (truth / f'goat/{index:05d}.png').unlink()
    assert score(predicted / 'goat', truth / 'goat', '--out', tmp_path / 'one.json') == 0
    video = json.loads((tmp_path / 'one.json').read_text())['videos'][0]
    assert video['num_frames'] == T and video['objects']['2']['num_scored'] == T - 3


def test_videos_that_are_listed_count(roots, tmp_path, capsys):
    predicted, truth, _ = roots
    (predicted / 'goat').rename(tmp_path / 'goat')
    assert score(predicted, truth) == 1
    assert f'{predicted}: no folder of 1 of the 2 videos that count: goat' in capsys.readouterr().err
    (tmp_path / 'val.txt').write_text('bear\n')
    assert score(predicted, truth, '--list', tmp_path / 'val.txt') == 0
    assert 'goat' not in capsys.readouterr().out


def test_black_and_white_masks_and_one_object_of_several_ids(roots, capsys):
    predicted, truth, _ = roots
    for t in range(T):
        white = np.where(draw_ids(t, IDS['bear']) > 0, 255, 0).astype(np.uint8)
        Image.fromarray(white).save(predicted / f'bear/{t:05d}.png')
    assert score(predicted / 'bear', truth / 'bear', '--single-object') == 0
    assert '100.0' in capsys.readouterr().out
    assert score(predicted / 'goat', truth / 'bear') == 0
    assert "video 'bear': predicted ids [2] are not in the true masks" in capsys.readouterr().err


def test_a_video_that_cannot_be_scored_is_named(roots, tmp_path, capsys):
    predicted, truth, _ = roots
    for index in range(1, T):
        (truth / f'goat/{index:05d}.png').unlink()
    assert score(predicted, truth, '--out', tmp_path / 'scores.json') == 0
    assert "not scored: video 'goat'" in capsys.readouterr().err
    assert list(json.loads((tmp_path / 'scores.json').read_text())['unscored']) == ['goat']
    assert score(predicted / 'goat', truth / 'goat') == 1
    assert 'no video can be scored' in capsys.readouterr().err


def test_what_is_wrong_is_named_before_masks_are_read(roots, tmp_path, capsys):
    predicted, truth, data = roots
    (predicted / 'bear/00002.png').unlink()
    save_ids(predicted / 'goat/00003.png', draw_ids(3, (2,), (24, 32)))
    assert score(predicted, truth, '--out', tmp_path / 'scores.json') == 1
    error = capsys.readouterr().err
    assert f'{predicted}/bear: no masks of 1 of the {T} frames of {truth}/bear: 00002' in error
    assert f'{predicted}/goat/00003.png: 32 x 24 pixels, expected 64 x 48 like {truth}/goat' in error
    assert not (tmp_path / 'scores.json').exists()
    for argv, message in (
        ((predicted, data), f'{data}: expected masks in it (one video), or a folder of masks for each video'),
        ((predicted, tmp_path / 'none'), f'{tmp_path}/none: no such folder'),
        ((tmp_path / 'none', truth), f'{tmp_path}/none: no such folder, expected predicted masks'),
        ((predicted, truth / 'bear'), f'{predicted}: expected masks in it, found no picture'),
        ((predicted, truth, '--list', tmp_path / 'none'), f'{tmp_path}/none: no such file'),
        ((predicted, truth, '--out', tmp_path), 'is a folder, expected the path of a file'),
    ):
        assert score(*argv) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    'looks',
    [
        np.array([(0, 0, 0), (9, 9, 200), (9, 200, 9), (200, 9, 9)], np.uint8),
        np.array([0, 1000, 2000, 3000], np.uint16),
    ],
    ids=['colours', 'numbers'],
)
def test_a_colour_is_the_same_object_in_both_folders(looks, tmp_path):
    """Also where no predicted mask shows the object whose colour or number is the first."""
    for t in range(3):
        true = draw_ids(t, (1, 2, 3))
        for name, ids in (('true', true), ('pred', np.where(true == 1, 0, true))):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(looks[ids]).save(tmp_path / f'{name}/{t}.png')
    assert score(tmp_path / 'pred', tmp_path / 'true', '--out', tmp_path / 'scores.json') == 0
    (video,) = json.loads((tmp_path / 'scores.json').read_text())['videos']
    assert {k: scores['J-Mean'] for k, scores in video['objects'].items()} == {'1': 0, '2': 1, '3': 1}
