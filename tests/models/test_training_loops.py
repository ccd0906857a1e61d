"""Every training loop of the models: what a memory adds to the loss, and what clips do not train.

The loops of the adapters are tested beside them, with the same memories.
"""

import pytest
import torch
from helpers.memory_cases import DECODED, WIDTHS, generator, make_entry, make_query
from helpers.vos_cases import make_batch, make_clip, tiny_config, tiny_model
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from mmstremn.engine import IterationHook
from mmstremn.memory import MEMORIES
from mmstremn.models import BootstrappedCEDiceLoss, ClipModel, TokenClassifier, VideoPredictor, rollout
from mmstremn.registry import MODELS, build
from mmstremn.structures import PredictionDataSample

LENGTH = 4
WITH_A_PENALTY = dict(type='STLSTMMemory', kernel=3, decoupling=0.1)
NO_CHOICES = dict(type='SlotMemory', num_slots=5, train_slots=5)


def segmentor_losses(memory):
    model = tiny_model(memory).train()
    return model, model(**make_batch(model, make_clip(0, 2, LENGTH)), mode='loss')


def predictor_losses(memory):
    torch.manual_seed(0)
    backbone = dict(type='ConvBackbone', widths=(4, 8))
    model = VideoPredictor(backbone, memory, key_channels=6, value_channels=8).train()
    samples = [PredictionDataSample(metainfo=dict(clip_name='a', input_frames=2, sample_seed=0))]
    return model, model(torch.rand(1, LENGTH, 1, 16, 16, generator=generator(0)), samples, mode='loss')


def classifier_losses(memory):
    torch.manual_seed(0)
    backbone = dict(type='TimmBackbone', model_name='test_resnet', strides=(4,), frozen_bn=False)
    model = TokenClassifier(backbone, memory, num_classes=6, key_channels=8, value_channels=16).train()
    samples = [BaseDataElement(gt_label=torch.tensor(i), metainfo=dict(sample_seed=i)) for i in range(2)]
    return model, model(torch.randn(2, LENGTH, 3, 32, 32), samples, mode='loss')


LOOPS = dict(VOSegmentor=segmentor_losses, VideoPredictor=predictor_losses, TokenClassifier=classifier_losses)
EVERY_LOOP = pytest.mark.parametrize('loop', LOOPS.values(), ids=LOOPS)


@pytest.fixture
def warnings(monkeypatch):
    """What :func:`finish_clip` logs."""
    logged = []
    monkeypatch.setattr(rollout, 'print_log', lambda message, *args: logged.append(message))
    return logged


def test_the_loops_are_all_of_them():
    classes = [cls for cls in MODELS.module_dict.values() if isinstance(cls, type)]
    ours = {cls for cls in classes if issubclass(cls, BaseModel) and 'mmstremn.models' in cls.__module__}
    ours = {cls for cls in ours if cls.__name__ != 'SimVP'}  # without a memory
    assert {cls.__name__ for cls in ours} == set(LOOPS)
    assert all(issubclass(cls, ClipModel) for cls in ours)


@EVERY_LOOP
def test_what_a_memory_adds_is_in_the_losses(loop):
    model, losses = loop(WITH_A_PENALTY)
    assert losses['loss_decoupling'] > 0
    losses['loss_decoupling'].backward()
    assert model.memory.adapter.weight.grad.any()
    assert 'loss_decoupling' not in loop(WITH_A_PENALTY | dict(decoupling=0.0))[1]


@EVERY_LOOP
def test_a_selector_that_never_chooses_is_named_with_the_numbers_once(loop, warnings):
    model, losses = loop(NO_CHOICES)
    (message,) = warnings
    assert message.startswith('SlotMemory: clips of 4 frames give its selector no gradient')
    assert '3 frames offered, 5 slots, 0 forced choices' in message
    sum(losses.values()).backward()
    assert not any(p.grad is not None and p.grad.any() for p in model.memory.selector.parameters())
    rollout.finish_clip(model, None, LENGTH)  # a further clip of the same memory
    assert len(warnings) == 1


@EVERY_LOOP
def test_by_default_a_selector_learns(loop, warnings):
    model, losses = loop(dict(type='SlotMemory'))
    sum(losses.values()).backward()
    assert all(p.grad.any() for p in model.memory.selector.parameters())
    assert not warnings


@pytest.mark.parametrize('length', (2, 3, 6))
@pytest.mark.parametrize('name', ('NTMMemory', 'ConvLSTMMemory', 'TwoLevelMemory', 'SlotMemory'))
def test_parameters_without_a_gradient_are_named_with_numbers(name, length, warnings):
    model = tiny_model(dict(type=name), seed=1).train()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    reached, trained = set(), dict(model.memory.named_parameters())
    for seed in range(rollout.WATCHED_PASSES + 1):
        optimizer.zero_grad()
        losses = model(**make_batch(model, make_clip(seed, 1, length)), mode='loss')
        sum(losses.values()).backward()
        if seed < rollout.WATCHED_PASSES:
            reached |= {key for key, p in trained.items() if p.grad is not None and p.grad.any()}
        optimizer.step()
    dead = [key for key in trained if key not in reached]
    named = [message for message in warnings if 'trainable parameters' in message]
    numbers = (
        f'{name}: {len(dead)} of its {len(trained)} trainable parameters got no gradient in the first 3 '
    )
    expected = f'{numbers}backward passes (clips of {length} frames), they do not learn: {", ".join(dead)}. '
    assert [message.partition('Train')[0] for message in named] == ([expected] if dead else [])


def test_clips_without_a_backward_pass_name_nothing(warnings):
    model = tiny_model(dict(type='NTMMemory')).train()
    for seed in range(6):
        model(**make_batch(model, make_clip(seed, 1, 2)), mode='loss')
    assert not warnings


def test_frozen_parts_and_evaluation_are_not_named(warnings):
    model = tiny_model(NO_CHOICES, frozen=('memory.selector',)).train()
    model(**make_batch(model, make_clip(0, 1, LENGTH)), mode='loss')
    model = tiny_model(NO_CHOICES).eval()
    model(**make_batch(model, make_clip(0, 1, LENGTH)), mode='loss')
    assert not warnings


# What a memory says of itself is what the gradients say.

SETTINGS = [dict(type=cls.__name__) for cls in MEMORIES]
SETTINGS += [dict(NO_CHOICES, train_slots=number) for number in (1, 2, 5)]
SETTINGS += [dict(type='CompressiveMemory', num_slots=number) for number in (1, 6)]
SETTINGS += [dict(type='CompressiveMemory', num_slots=6, mode='mean')]
SETTINGS += [
    dict(
        type='SlotMemory',
        num_slots=number,
        selector=dict(type='FIFOSelector'),
        fusion=dict(type='SlotFusion'),
    )
    for number in (2, 5)
]


def run_frames(memory, length):
    """The state after a clip, and a loss of what was read."""
    selective, groups = memory.needs_selection, 2 if memory.per_object_key else 1
    state, loss = None, torch.zeros(())
    for index in range(length):
        if index:
            readout, state = memory.read(state, make_query(index, 2, selective))
            loss = loss + (readout * torch.randn(readout.shape, generator=generator(index, 8))).sum()
        if index == length - 1:
            return state, loss
        entry = make_entry(index, 2, 2, groups, shrinkage=selective, prompted=not index)
        entry.extras.update(mask=torch.rand(2, 2, 4, generator=generator(index, 5)), clip_length=length)
        if index:
            entry.extras.update(decoded=torch.randn(2, 2, 4, DECODED, generator=generator(index, 6)))
        state = memory.init(entry, (1, 2)) if state is None else state
        wanted = entry.prompted or memory.wants(state)
        state = memory.write(state, entry) if wanted else memory.pass_over(state, entry.extras['decoded'])


@pytest.mark.parametrize('length', (4, 5, 8))
@pytest.mark.parametrize('settings', SETTINGS, ids=lambda settings: '-'.join(map(str, settings.values())))
def test_memories_name_what_a_clip_does_not_train(settings, length):
    torch.manual_seed(0)
    memory = build(settings, **WIDTHS).train()
    state, loss = run_frames(memory, length)
    if loss.requires_grad:
        loss.backward()
    dead = {name for name, p in memory.named_parameters() if p.grad is None or not p.grad.any()}
    parts = {part[:8] for part in memory.untrained_parts(state)}  # 'compression' is compress_key and _value
    assert parts == {name.split('.')[0][:8] for name in dead}


def test_gates_that_leave_no_choice_are_seen():
    """Counted is what the gates left, not what the sizes promise."""
    gates = [dict(type='EmptyFirst'), dict(type='MinNovelty', novelty=2.0)]
    memory = build(dict(type='SlotMemory', num_slots=2, gates=gates), **WIDTHS).train()
    state, _ = run_frames(memory, 6)
    assert memory.untrained_parts(state) == dict(selector='5 frames offered, 2 slots, 0 forced choices')


# The iteration.


class AtIteration7:
    iter = 7

    def __init__(self, model):
        self.model = model


def test_the_hook_hands_the_iteration_to_our_models_alone():
    hook, batch = IterationHook(), {}
    hook.before_train_iter(AtIteration7(torch.nn.Linear(1, 1)), 0, batch)
    assert batch == {}
    hook.before_train_iter(AtIteration7(tiny_model()), 0, batch)
    assert batch == dict(iteration=7)


def test_preprocessors_pass_the_iteration_on():
    model = tiny_model()
    frames, sample = make_clip(0)
    data = dict(inputs=[frames], data_samples=[sample], iteration=7)
    assert model.data_preprocessor(data, training=True)['iteration'] == 7


def test_a_schedule_without_an_iteration_warns():
    model = tiny_model().train()
    with pytest.warns(UserWarning, match='no iteration was handed in.*IterationHook'):
        model(**make_batch(model, make_clip(0)), mode='loss')


def test_masks_are_stacked_once_a_loss(monkeypatch):
    from mmstremn.models.segmentation import segmentor

    calls, stack = [], segmentor.stack_masks
    monkeypatch.setattr(segmentor, 'stack_masks', lambda *args: calls.append(1) or stack(*args))
    segmentor_losses(dict(type='SlotMemory', selector=dict(type='FIFOSelector')))
    assert len(calls) == 1


def test_a_run_of_mmengine_hands_the_iteration_in(tmp_path, monkeypatch):
    """mmengine's own runner and loop, with the hook of the default runtime."""
    seen, model = [], tiny_config()
    monkeypatch.setattr(BootstrappedCEDiceLoss, 'share', lambda self, number: seen.append(number) or 1.0)
    loader = dict(
        batch_size=1,
        dataset=dict(type=Clips),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
    )
    Runner(
        model,
        str(tmp_path),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=False, max_iters=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-4)),
        default_hooks=dict(iteration=dict(type='IterationHook'), checkpoint=None),
        default_scope='mmstremn',
        experiment_name=tmp_path.name,
    ).train()
    assert seen == [0, 1, 2]


class Clips(torch.utils.data.Dataset):
    """Three clips."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        frames, sample = make_clip(index)
        return dict(inputs=frames, data_samples=sample)
