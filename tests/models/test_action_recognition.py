"""Tokens in a memory: the embedded clips of actions, the classifier, its metric, and a run of the tools."""

import json

import numpy as np
import pytest
import torch
from helpers.runs import ROOT, run_tool
from mmengine.config import Config
from mmengine.structures import BaseDataElement

from mmstremn.datasets import SampleRequest, SyntheticActionDataset
from mmstremn.datasets.synthetic.actions import ACTIONS
from mmstremn.engine.launch import check_types
from mmstremn.evaluation import ClipAccuracy
from mmstremn.memory import MEMORIES, Entry, Query
from mmstremn.models import TokenClassifier
from mmstremn.registry import MODELS, build

CONFIGS = sorted((ROOT / 'configs/action').glob('*.py'))
BACKBONE = dict(type='TimmBackbone', model_name='test_resnet', strides=(4,), frozen_bn=False)
FIFO = dict(type='SlotMemory', num_slots=2, selector=dict(type='FIFOSelector'))


def classifier(memory, **kwargs) -> TokenClassifier:
    torch.manual_seed(0)
    return TokenClassifier(BACKBONE, memory, num_classes=6, key_channels=8, value_channels=16, **kwargs)


def clips(number=2, length=5):
    return torch.randn(number, length, 3, 32, 32), [
        BaseDataElement(gt_label=torch.tensor(i)) for i in range(number)
    ]


# The data.


@pytest.fixture(scope='module')
def data():
    return SyntheticActionDataset('test', num_clips=60)


def places(item) -> np.ndarray:
    """Centre x, y and size (T, 3) of the shape in each frame: it is the brighter part."""
    frames = item['inputs'].float().mean(1).numpy()
    shape = frames > (frames.min((1, 2), keepdims=True) + frames.max((1, 2), keepdims=True)) / 2
    return np.array([[*np.argwhere(frame).mean(0)[::-1], frame.sum()] for frame in shape])


def test_clips_show_what_their_label_says(data):
    for index in range(24):
        item = data[index]
        action = data.metainfo['classes'][int(item['data_samples'].gt_label)]
        change = places(item)[-1] - places(item)[0]
        x, y, growth = ACTIONS[action]
        if growth:
            assert np.sign(change[2]) == growth and abs(change[:2]).max() < 1, action
        else:
            assert np.sign(change[:2].round()).tolist() == [x, y], action
            assert 0.2 * 32 < abs(change[:2]).max() < 0.4 * 32


def test_shapes_rest_before_and_after_the_action(data):
    for index in range(12):
        steps = abs(np.diff(places(data[index]), axis=0))
        moving = np.flatnonzero((steps[:, :2].max(1) > 1) | (steps[:, 2] > 8))
        assert 2 <= len(moving) <= 4 and moving[-1] - moving[0] <= 3


def test_opposite_actions_show_the_same_places(data):
    """So no single frame, and no set of frames, gives the direction away: checked on the means over many
    clips."""
    many = SyntheticActionDataset('test', num_clips=300)
    means = {action: [] for action in ACTIONS}
    for index in range(300):
        means[tuple(ACTIONS)[index % 6]].append(places(many[index]).mean(0))
    for one, other, axis in (('left', 'right', 0), ('up', 'down', 1), ('grow', 'shrink', 2)):
        first, second = np.array(means[one])[:, axis], np.array(means[other])[:, axis]
        assert abs(first.mean() - second.mean()) < 3 * np.sqrt((first.var() + second.var()) / 50)


def test_clips_are_functions_of_split_and_seed(data):
    assert torch.equal(data[3]['inputs'], SyntheticActionDataset('test', num_clips=60)[3]['inputs'])
    assert not torch.equal(data[3]['inputs'], SyntheticActionDataset('dev', num_clips=60)[3]['inputs'])
    assert not torch.equal(
        data[3]['inputs'], SyntheticActionDataset('test', num_clips=60, seed=1)[3]['inputs']
    )
    train = SyntheticActionDataset('train')
    first, again, other = (train[SampleRequest(0, seed)] for seed in (5, 5, 6))
    assert torch.equal(first['inputs'], again['inputs']) and not torch.equal(first['inputs'], other['inputs'])
    assert first['data_samples'].sample_seed == 5
    assert (first['inputs'].shape, first['inputs'].dtype) == ((12, 3, 32, 32), torch.uint8)


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(split='val'), "split 'val' is none of train, dev, test"),
        (dict(num_moves=12), r'num_moves must be in 1\.\.num_frames - 1 = 11, got 12'),
        (dict(size=8), 'size must be at least 16 pixels, got 8'),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SyntheticActionDataset(**kwargs)


# The model.


@pytest.mark.parametrize(
    'memory', [*MEMORIES, None], ids=lambda memory: memory.__name__ if memory else 'mean'
)
def test_every_memory_takes_tokens(memory):
    """Grid 1 x 1: each trains, reaches the token through the memory, and predicts."""
    model = classifier(memory and dict(type=memory.__name__))
    inputs, samples = clips()
    loss = model(inputs, samples, mode='loss')['loss']
    loss.backward()
    assert torch.isfinite(loss)
    assert model.to_token[2].weight.grad.abs().sum() > 0
    model.eval()
    with torch.no_grad():
        predicted = model(inputs, samples, mode='predict')
        logits = model(inputs)
    assert logits.shape == (2, 6)
    assert [int(sample.pred_label) for sample in predicted] == logits.argmax(-1).tolist()
    assert torch.allclose(
        torch.stack([sample.pred_scores for sample in predicted]), logits.softmax(-1), atol=1e-5
    )


def test_the_answer_depends_on_what_is_remembered_alone():
    """FIFO with two slots: the last frame and the two before it count, earlier ones and later writes do
    not."""
    model = classifier(FIFO).eval()
    inputs, _ = clips(1, 6)
    with torch.no_grad():
        logits = model(inputs)
        for index in range(6):
            changed = inputs.clone()
            changed[:, index] += 1
            assert torch.equal(model(changed), logits) == (index < 3), index


def test_order_counts_with_a_memory_and_not_in_the_mean():
    inputs, _ = clips(1, 3)
    with_memory, mean = classifier(FIFO).eval(), classifier(None).eval()
    with torch.no_grad():
        assert not torch.allclose(with_memory(inputs), with_memory(inputs.flip(1)), atol=1e-4)
        assert torch.allclose(mean(inputs), mean(inputs.flip(1)), atol=1e-5)


def test_many_questions_at_once_are_answered_as_one_by_one():
    """A query may have more positions than the entries: the words of a question, say."""
    memory = build(FIFO, key_channels=8, value_channels=16).eval()
    entries = [Entry(torch.randn(2, 1, 1, 8), torch.randn(2, 1, 1, 16), (1, 1)) for _ in range(2)]
    state = memory.init(entries[0])
    for entry in entries:
        state = memory.write(state, entry)
    questions = torch.randn(2, 7, 8)
    answers, _ = memory.read(state, Query(questions))
    single = [memory.read(state, Query(questions[:, [index]]))[0] for index in range(7)]
    assert torch.allclose(answers, torch.cat(single, 2), atol=1e-6)
    assert answers.shape == (2, 1, 7, 16)


def test_random_choices_follow_the_samples_seeds():
    model = classifier(dict(type='SlotMemory', num_slots=2, selector=dict(type='RandomSelector'))).eval()
    inputs, _ = clips(1, 8)
    samples = [[BaseDataElement(metainfo=dict(sample_seed=seed))] for seed in (1, 1, *range(2, 9))]
    first, again, *others = (model.logits(inputs, sample) for sample in samples)
    assert torch.equal(first, again)
    assert not all(torch.equal(first, other) for other in others)


def test_bad_input_is_named():
    model = classifier(FIFO)
    with pytest.raises(ValueError, match='expected 2 or more, got 1'):
        model(torch.randn(1, 1, 3, 32, 32))
    with pytest.raises(ValueError, match="mode must be 'loss', 'predict' or 'tensor', got 'train'"):
        model(*clips(), mode='train')


# The metric, and the configs.


def test_accuracy():
    metric = ClipAccuracy()
    labels = [(0, 0), (0, 0), (0, 1), (1, 1), (2, 0)]
    samples = [
        dict(gt_label=torch.tensor(truth), pred_label=torch.tensor(predicted)) for truth, predicted in labels
    ]
    metric.process({}, samples)
    assert metric.evaluate(5) == {
        'Clip/accuracy': 0.6,
        'Clip/mean_class_accuracy': pytest.approx((2 / 3 + 1 + 0) / 3),
    }
    with pytest.raises(ValueError, match=r"\['pred_label'\] is missing"):
        metric.process({}, [dict(gt_label=torch.tensor(0))])
    with pytest.raises(ValueError, match='at least one clip, got none'):
        metric.compute_metrics([])


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_config_builds(path):
    cfg = Config.fromfile(path)
    check_types(cfg)
    model = MODELS.build(cfg.model)
    assert isinstance(model, TokenClassifier)
    assert (model.memory is None) == (path.stem == 'mean_actions')


def test_configs_differ_in_the_memory_alone():
    configs = [Config.fromfile(path).to_dict() for path in CONFIGS]
    memories = [cfg['model'].pop('memory') for cfg in configs]
    assert configs[0] == configs[1] == configs[2]
    assert memories.count(memories[0]) == 1


def test_tools_train_and_test_it(tmp_path):
    config = ROOT / 'configs/action/gumbel_actions.py'
    options = [
        'train_cfg.max_iters=2',
        'train_dataloader.batch_size=2',
        'test_dataloader.dataset.num_clips=6',
    ]
    options = ['--work-dir', tmp_path, '--cfg-options', *options, 'val_dataloader.dataset.num_clips=6']
    assert run_tool('train', [config, *options]) == 0
    assert (
        run_tool('test', [config, tmp_path / 'iter_2.pth', '--out', tmp_path / 'metrics.json', *options]) == 0
    )
    assert 0 <= json.loads((tmp_path / 'metrics.json').read_text())['Clip/accuracy'] <= 1
