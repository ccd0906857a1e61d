"""Edited videos as recorded features: reads, runs and the oracle."""

import pytest
import torch
from helpers.vos_cases import tiny_model

from mmstremn.engine.recorded.episodes import Episode, iterate_episodes, run_episode, soft_j
from mmstremn.engine.recorded.oracle import OracleSelector, PlannedSelector, future_points, search_plan
from mmstremn.engine.recorded.recording import read_or_record
from mmstremn.memory import (
    EmptyFirst,
    Entry,
    FIFOSelector,
    KeepPrompted,
    L2Affinity,
    Query,
    SlotMemory,
    TopKReader,
)
from mmstremn.registry import DATASETS


@pytest.fixture(scope='module')
def dataset():
    source = dict(type='SyntheticVOSDataset', split='dev', num_videos=5, num_frames=15, size=(48, 64))
    options = dict(num_videos=2, num_frames=(100, 120), size=(48, 64), style=dict(objects=(3, 3)))
    return DATASETS.build(dict(type='EditedVideoDataset', dataset=source, **options))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('recorded')


@pytest.fixture(scope='module')
def episode(dataset, folder):
    return next(iterate_episodes(tiny_model(), dataset, folder))


def memory_of(selector, slots=3, gates=()):
    return SlotMemory(slots, selector, gates=[EmptyFirst(), *gates]).eval()


def test_a_recording_holds_what_the_model_gives(dataset, folder, episode):
    model = tiny_model().eval()
    video = dataset[0]['inputs']
    for step in (0, 7, len(episode) - 1):
        image = torch.as_tensor(video.frame(step * 5)).permute(2, 0, 1)[None].float()
        with torch.no_grad():
            key = model.encode_frame(model.data_preprocessor.normalize(image)).query.key[0]
        torch.testing.assert_close(episode.key[step], key, rtol=2e-3, atol=2e-3)  # float16
    again = read_or_record(None, video.sequences[0], folder)  # from the file: no model is asked
    assert again.grid == episode.grid


def test_truth_is_where_the_masks_are(dataset, episode):
    video = dataset[0]['inputs']
    assert episode.births == tuple(sorted(-(-frame // 5) for frame in video.prompts))
    for step in range(len(episode)):
        mask = video.mask(step * 5)
        torch.testing.assert_close(
            episode.truth[step].sum(0).mean() * 48 * 64,
            torch.tensor(float((mask > 0).sum())),
            rtol=0.01,
            atol=3,
        )


def test_a_read_is_that_of_the_memory(episode):
    stamps, query = torch.tensor([4, 0, 9]), 12
    g = torch.Generator().manual_seed(0)
    value = torch.rand(2, 3, episode.key.shape[1], generator=g)
    usable = torch.tensor([[[True, True, True], [True, False, True]], [[False, True, True]] * 2])
    labels, shares, distance = episode.read(query, stamps, value, usable)
    reader, key = TopKReader(L2Affinity(), k=10).eval(), episode.key[stamps][None, None]
    for row in range(2):
        for number in range(2):
            mask = usable[row, number][None, None]
            readout, share = reader(
                Query(episode.key[query][None]), key, None, value[number][None, None, ..., None], mask
            )
            torch.testing.assert_close(labels[row, number], readout[0, 0, :, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(shares[1], share[0, 0], rtol=1e-4, atol=1e-4)
    memory = memory_of(FIFOSelector())
    state = memory.init(_entry(episode))
    state.key, state.written_at = key, stamps[None, None]
    expected = memory.distance(state, Query(episode.key[query][None]))[0, 0]
    torch.testing.assert_close(distance[0], expected, rtol=1e-3, atol=1e-3)


def _entry(episode):
    from mmstremn.engine.recorded.episodes import make_entry

    return make_entry(episode, 0, episode.truth[0, :1], {}, True)


def test_j_is_1_for_the_truth_and_0_for_false_alarms():
    truth = torch.tensor([[0.0, 1.0, 0.5], [0.0, 0.0, 0.0]])
    assert soft_j(truth, truth).tolist() == [1, 1]
    assert soft_j(1 - truth, truth).tolist() == pytest.approx([0.2, 0])


def test_runs_score_objects_after_their_prompts(episode):
    run = run_episode(memory_of(FIFOSelector(), gates=[KeepPrompted()]), episode)
    for number, birth in enumerate(episode.births):
        assert run.scores[: birth + 1, number].isnan().all()
        assert run.scores[birth + 1 :, number].isfinite().all()
    assert 0 < run.balanced <= 1
    assert all({*episode.births[:2]} <= set(kept) for kept in run.kept[episode.births[1] :])


def test_memory_that_holds_all_is_better_than_one_slot(episode):
    one, all_ = (
        run_episode(memory_of(FIFOSelector(), slots), episode).balanced for slots in (1, len(episode))
    )
    assert all_ > one


def test_points_of_the_future_stand_for_all_frames_to_come(episode):
    for step in range(len(episode)):
        points = future_points(episode, step)
        assert sum(length for _, length in points) == len(episode) - 1 - step
        assert all(point > step for point, _ in points)


def test_the_oracle_is_ahead_of_rules(dataset, folder):
    gains = []
    for episode in iterate_episodes(tiny_model(), dataset, folder):
        oracle, fifo = (
            run_episode(memory_of(s), episode).balanced for s in (OracleSelector(), FIFOSelector())
        )
        gains.append(oracle - fifo)
    assert sum(gains) > 0


def test_what_is_shown_twice_is_read_once(episode):
    places = {episode._place[step] for step in range(len(episode))}
    assert len(places) < len(episode)
    assert isinstance(episode, Episode)


def test_a_plan_that_was_searched_is_no_worse_than_where_it_started(episode):
    start, found = (search_plan(2, episode, tries=tries, seed=1) for tries in (0, 6))
    assert found.balanced >= start.balanced
    assert all(len(kept) == 2 for kept in found.kept)


def test_a_plan_drops_what_is_not_shown_again():
    plan = PlannedSelector(torch.tensor([1.0, 3.0, 2.0, 0.0]), torch.tensor([9, 1, 9, 9]))
    state = memory_of(plan, 3).init(Entry(torch.zeros(1, 1, 4, 8), torch.zeros(1, 1, 4, 1), (2, 2)))
    state.written_at[:], state.step = torch.tensor([0, 1, 2]), 3
    assert plan(state, None)[0, 0].argmax() == 1  # of the highest priority, but gone
