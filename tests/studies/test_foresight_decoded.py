"""What a choice could win on edited videos with decoded masks: plans, true masks, and what is saved."""

import json

import pytest
import torch
from helpers.runs import DATA
from mmengine.config import Config

from mmstremn.apis import init_segmentor
from mmstremn.engine.recorded.oracle import last_use
from mmstremn.registry import DATASETS, build
from studies.edited_videos import foresight
from studies.shared import model_with_memory

FIFO = dict(
    type='SlotMemory',
    num_slots=3,
    selector=dict(type='FIFOSelector'),
    gates=[dict(type='EmptyFirst'), dict(type='KeepPrompted')],
)


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """A tiny model and two short edited videos."""
    cfg = Config.fromfile(DATA / 'small_vos.py')
    source = dict(
        type='SyntheticVOSDataset', split='dev', size=(48, 48), num_frames=20, max_objects=1, test_mode=True
    )
    cfg.edited = dict(
        dev=dict(
            type='EditedVideoDataset',
            dataset=source,
            num_videos=2,
            num_frames=(60, 60),
            size=(48, 48),
            style=dict(objects=(2, 3)),
        )
    )
    path = tmp_path_factory.mktemp('config') / 'edited.py'
    cfg.dump(str(path))
    return str(path)


@pytest.fixture(scope='module')
def checkpoint(config, tmp_path_factory):
    path = tmp_path_factory.mktemp('checkpoint') / 'start.pth'
    torch.manual_seed(7)
    torch.save(init_segmentor(config, device='cpu').state_dict(), path)
    return str(path)


@pytest.fixture(scope='module')
def episode(config, checkpoint):
    cfg = Config.fromfile(config)
    model, _ = model_with_memory(cfg, FIFO, checkpoint, allow_missing=True)
    with foresight.DefaultScope.overwrite_default_scope('mmstremn'):
        video = DATASETS.build(dict(cfg.edited['dev'], style=dict(objects=(3, 3))))[0]['inputs']
    return foresight.DecodedEpisode(model, video)


def test_every_step_and_every_prompt_is_offered(episode):
    offered, memory = [], build(FIFO)
    write = memory.write

    def record(state, entry):
        offered.append((entry.prompted, entry.value.shape[1]))
        return write(state, entry)

    memory.write = record
    scores = episode.run(memory)
    assert set(scores) == {'balanced', 'shown', 'false_alarms', 'all_frames'}
    assert len(offered) == len(episode.indices) >= 12
    assert [prompted for prompted, _ in offered] == [i in episode.prompts for i in episode.indices]
    assert offered[-1][1] == len(episode.ids) > 1


def test_true_masks_are_stored_where_they_are_asked_for_and_the_model_is_as_before(episode):
    encode = episode.model.encode_value
    stored = {}
    for true_masks in (False, True):
        memory, kept = build(FIFO), []
        write = memory.write
        memory.write = lambda state, entry, kept=kept, write=write: (
            kept.append(entry.extras['mask'][0]) or write(state, entry)
        )
        episode.run(memory, true_masks)
        stored[true_masks] = kept
    assert episode.model.encode_value == encode
    differs = 0
    for own, true, mask in zip(stored[False], stored[True], episode.truth, strict=True):
        covered = torch.stack([torch.from_numpy(mask == k).float().mean() for k in episode.ids[: len(true)]])
        assert torch.allclose(true.mean(1), covered, atol=1e-4)
        differs += not torch.allclose(own, true, atol=1e-2)
    assert differs > 3


def test_a_plan_is_at_least_as_good_as_those_that_the_search_starts_with(episode):
    start = foresight.best_plan(episode, 3, 0, 0, False)
    best = foresight.best_plan(episode, 3, 6, 0, False)
    assert best == foresight.best_plan(episode, 3, 6, 0, False)
    assert best['balanced'] >= start['balanced']


def test_the_last_use_of_a_step_is_the_last_step_that_shows_one_of_its_objects(episode):
    shown = [{int(k) for k in set(mask.flatten())} - {0, 255} for mask in episode.truth]
    for step, last in enumerate(last_use(episode.shown()).tolist()):
        later = [other for other, ids in enumerate(shown) if ids & shown[step]]
        assert last == (max(later) if shown[step] else -1)


def test_the_tool_saves_each_video_and_goes_on_from_its_file(config, checkpoint, tmp_path, capsys):
    out = tmp_path / 'out.json'
    arguments = [config, checkpoint, '--slots', '3', '--memories', 'as_trained', 'fifo_prompted_all']
    arguments += ['--tries', '1', '--out', str(out)]
    assert foresight.main([*arguments, '--videos', '1']) == 0
    first = json.loads(out.read_text())
    assert {name: len(rows) for name, rows in first['results'].items()} == dict(
        as_trained=1, fifo_prompted_all=1, plan=1
    )
    capsys.readouterr()
    assert foresight.main([*arguments, '--true-masks']) == 0
    second = json.loads(out.read_text())
    assert len(second['results']) == 6 and all(len(rows) == 2 for rows in second['results'].values())
    assert second['results']['plan'][0] == first['results']['plan'][0]
    assert capsys.readouterr().out.count('"video"') == 3 * 3
    assert foresight.main([config, 'nothing.pth', '--out', str(out)]) == 1
    assert 'nothing.pth: no such file' in capsys.readouterr().err
