"""The study of trackers: its videos, its measures, and a run of a moment."""

import json
import runpy

import helpers.tracking_cases  # noqa: F401  (skips without mmdet, and installs the stub)
import numpy as np
import pytest
import torch
from helpers.runs import ROOT
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from studies.tracking_occlusion.scenes import SIZE, make_video


@pytest.fixture(scope='module')
def study():
    return runpy.run_path(str(ROOT / 'studies/tracking_occlusion/run.py'))


def test_videos_are_a_function_of_the_seed_and_objects_return_in_another_look():
    one, same, other = make_video(3), make_video(3), make_video(4)
    for first, second in zip(one, same, strict=True):
        assert np.array_equal(first.image, second.image) and np.array_equal(first.found, second.found)
    assert any(
        not np.array_equal(first.image, second.image) for first, second in zip(one, other, strict=True)
    )
    last, looks = {}, {'earlier': [], 'last': []}
    for returns, seen_again in looks.items():
        for seed in range(4):
            last.clear()
            for index, seen in enumerate(make_video(seed, returns=returns)):
                assert (seen.boxes >= 0).all() and (seen.boxes <= [SIZE[1], SIZE[0]] * 2).all()
                for number, look in zip(seen.ids.tolist(), seen.looks.tolist(), strict=True):
                    if number in last and index - last[number][0] > 7:
                        seen_again.append(look == last[number][1])
                    last[number] = index, look
    assert np.mean(looks['last']) > 0.7 > 0.4 > np.mean(looks['earlier'])


def test_measures(study):
    video = make_video(0, length=12)
    for seen in video:
        seen.ids, seen.boxes = np.array([4]), np.array([[0, 0, 10, 10]], np.float32)

    def sample(identity):
        boxes = torch.tensor([[0.0, 0, 10, 9], [50, 50, 60, 60]])[: 0 if identity is None else 2]
        ids = torch.tensor([identity, 99] if identity is not None else [], dtype=torch.long)
        return study['DetDataSample'](pred_track_instances=InstanceData(bboxes=boxes, instances_id=ids))

    gone = [None] * 6
    assert study['returns_kept'](video, [sample(i) for i in [7, 7, *gone, 7, 7, 7, 7]]) == [True]
    assert study['returns_kept'](video, [sample(i) for i in [7, 7, *gone, 8, 8, 7, 7]]) == [False]
    assert study['returns_kept'](video, [sample(i) for i in [7, 7, None, None, 8, 8, 8, 8, 8, 8, 8, 8]]) == []
    found = InstanceData(scores=torch.tensor([0.2, 0.9, 0.5]), instances_id=torch.tensor([1, 1, 2]))
    assert study['unique'](found).scores.tolist() == pytest.approx([0.9, 0.5])


def test_a_run(study, tmp_path):
    study['MEMORIES'].clear()
    study['MEMORIES']['learned, 2 slots'] = (None, 2)
    arguments = ['--seeds', '1', '--iterations', '2', '--videos', '1', '--frames', '30']
    files = [tmp_path / 'study.json', tmp_path / 'study.png']
    with DefaultScope.overwrite_default_scope('mmdet'):
        report = study['main']([*arguments, '--out', str(files[0]), '--plot', str(files[1])])
    assert json.loads(files[0].read_text()) == report and files[1].stat().st_size > 1000
    assert len(report['rows']) == 2 * 2 * 2  # heads, ways to return, trackers
    assert all(0 <= row['IDF1'] <= 1 and row['outputs'] > 0 for row in report['rows'])
