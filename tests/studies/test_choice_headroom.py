"""What a choice could win: foresight, true masks, and the tool that compares them."""

import json
import runpy

import numpy as np
import pytest
import torch
from helpers.runs import DATA, ROOT
from helpers.vos_cases import SquaresVideo
from mmengine.config import Config

from mmstremn.apis import init_segmentor
from mmstremn.utils.palette import decode_palette_png
from studies.choice_headroom.foresight import DirectedFIFO, Frames, segment
from studies.shared import frame_scores, model_with_memory, predicted, study_videos

SMALL = DATA / 'small_vos.py'
MEMORIES = str(ROOT / 'configs/_base_/long_memories.py')
main = runpy.run_path(str(ROOT / 'studies/choice_headroom/run.py'))['main']
FIFO = dict(
    type='SlotMemory',
    num_slots=3,
    selector=dict(type='FIFOSelector'),
    gates=[dict(type='EmptyFirst'), dict(type='KeepFirst'), dict(type='EveryN', n=5)],
)
LENGTH = 20  # slots are full after frame 10; there is one choice to make, at frame 15


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    cfg = Config.fromfile(SMALL)
    cfg.test_dataloader.dataset = dict(
        type='LongSyntheticVOSDataset', split='dev', size=(48, 48), lengths=(LENGTH, 12)
    )
    path = tmp_path_factory.mktemp('config') / 'long.py'
    cfg.dump(str(path))
    return str(path)


@pytest.fixture(scope='module')
def checkpoint(config, tmp_path_factory):
    path = tmp_path_factory.mktemp('checkpoint') / 'start.pth'
    torch.manual_seed(7)
    torch.save(init_segmentor(config, device='cpu').state_dict(), path)
    return str(path)


@pytest.fixture(scope='module')
def model(config, checkpoint):
    model, _ = model_with_memory(Config.fromfile(config), FIFO, checkpoint, allow_missing=True)
    return model


@pytest.fixture(scope='module')
def video(config):
    return study_videos(Config.fromfile(config), 'dev')[0]


def told(model, video, **options):
    """Masks and changes of a video, with the rule's selector replaced for the time."""
    rule, model.memory.selector = model.memory.selector, DirectedFIFO()
    try:
        return tuple(zip(*segment(model, Frames(model, video, held=LENGTH), **options), strict=True))
    finally:
        model.memory.selector = rule


def test_without_foresight_it_is_what_the_model_predicts(model, video):
    masks, changed = told(model, video)
    expected = [decode_palette_png(png) for png in predicted(model, video).pred_masks]
    assert (
        np.mean(np.stack(masks[1:]) != np.stack(expected[1:])) < 1e-3
    )  # the stream takes the softmax first: ties
    assert not any(changed)


def test_foresight_takes_the_best_of_the_alternatives(model, video, monkeypatch):
    """Every alternative is forced in turn; foresight is as good as the best of them on the frames after the
    choice."""
    best = -1
    for alternative in (1, 2, 3):  # slot 0 holds the first frame; 3 is skipping
        forced = torch.eye(4)[alternative].view(1, 1, 4)
        with monkeypatch.context() as patch:
            patch.setattr(
                'studies.choice_headroom.foresight._look_ahead',
                lambda model, *_, forced=forced: (
                    setattr(model.memory.selector, 'choice', forced) if _[1] == 15 else None
                ),
            )
            masks, _ = told(model, video, horizon=4)
        best = max(best, mean_j(video, masks))
    masks, changed = told(model, video, horizon=4)
    assert mean_j(video, masks) == pytest.approx(best, abs=1e-3)
    assert sum(changed) <= 1


def mean_j(video, masks):
    """Of the frames after the choice, of all objects."""
    values = []
    for index in range(16, LENGTH):
        truth = video.mask(index)
        for object_id in video.object_ids:
            true, found = truth == object_id, masks[index] == object_id
            values.append((true & found).sum() / (true | found).sum() if (true | found).any() else 1.0)
    return np.mean(values)


def test_true_masks_change_what_is_read_after_the_first_store(model, video):
    plain, _ = told(model, video)
    true, _ = told(model, video, true_masks=True)
    np.testing.assert_array_equal(np.stack(plain[:6]), np.stack(true[:6]))
    assert any((a != b).any() for a, b in zip(plain[6:], true[6:], strict=True))


def test_objects_that_come_later_are_refused(model):
    late = SquaresVideo(6, appear=(0, 3))
    with pytest.raises(ValueError, match="video 'squares0': expected prompts in frame 0 alone"):
        Frames(model, late, held=2)


def test_the_tool(config, checkpoint, tmp_path, capsys):
    out = tmp_path / 'headroom.json'
    arguments = [
        config,
        checkpoint,
        '--memory-file',
        MEMORIES,
        '--allow-missing',
        '--videos',
        '1',
        '--horizon',
        '2',
    ]
    assert main([*arguments, '--out', str(out)]) == 0
    about = json.loads(out.read_text())
    (row,) = about['results']['fifo']
    assert set(row) == {'video', 'rule', 'foresight', 'true_masks', 'changed'}
    assert row['video'].startswith('long_dev_000') and 0 <= row['rule'] <= 1
    assert len(about['checkpoint_sha256']) == 64
    assert 'true masks' in capsys.readouterr().out


def test_the_tool_refuses_other_memories(config, checkpoint, capsys):
    assert main([config, checkpoint, '--memory-file', MEMORIES, '--memories', 'stcn', '--allow-missing']) == 1
    assert "memory 'stcn': expected a SlotMemory with FIFOSelector" in capsys.readouterr().err


def test_scores_are_those_of_the_failures(model, video):
    masks, _ = told(model, video)
    assert np.isfinite(frame_scores(video, masks)[1:-1]).all()
