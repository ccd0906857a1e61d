"""SimVP: shapes, rollouts, what depends on what, and the tools."""

import json
import re

import pytest
import torch
from helpers.memory_cases import generator
from helpers.predictor_cases import PREDICTION
from helpers.runs import run_tool
from mmengine.config import Config

from mmstremn.apis import PredictionInferencer, init_predictor
from mmstremn.models import SimVP
from mmstremn.models.prediction.simvp import SCALE, TranslatorBlock
from mmstremn.registry import MODELS
from mmstremn.structures import PredictionDataSample

GIVEN, LATER, SIZE = 4, 4, 16


def simvp(seed=0, **kwargs):
    torch.manual_seed(seed)
    sizes = dict(input_frames=GIVEN, spatial_channels=4, translator_channels=8, translator_layers=3)
    return MODELS.build(dict(type='SimVP') | sizes | kwargs)


def clips(batch=2, length=GIVEN + LATER, channels=1, size=(SIZE, SIZE), seed=0):
    return torch.rand(batch, length, channels, *size, generator=generator(seed))


def samples(batch=2, given=GIVEN):
    return [
        PredictionDataSample(metainfo=dict(clip_name=f'clip{i}', input_frames=given, sample_seed=i))
        for i in range(batch)
    ]


@pytest.mark.parametrize('layers', [2, 4])
def test_it_trains_and_predicts(layers):
    model = simvp(frame_channels=3, spatial_layers=layers).train()
    frames = clips(channels=3, size=(16, 24))
    losses = model(frames, samples(), 'loss')
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    predicted = model(frames[:, :GIVEN], mode='tensor')
    assert losses['loss_l2'].item() == pytest.approx(((predicted - frames[:, GIVEN:]) ** 2).mean().item())
    with torch.no_grad():
        results = model.eval()(frames, samples(), 'predict')
        expected = model(frames, mode='tensor')
    for place, result in enumerate(results):
        assert torch.equal(result.pred_frames, expected[place])
        assert torch.equal(result.true_frames, (frames[place, GIVEN:] * 255).round().to(torch.uint8))
        assert result.state_bytes == 0 and result.frame_seconds > 0


def test_a_step_of_training_lowers_the_loss():
    model = simvp().train()
    frames, optimizer = clips(), torch.optim.AdamW(model.parameters(), 0.01)
    losses = []
    for _ in range(20):
        loss = model(frames, samples(), 'loss')['loss_l2']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_longer_outputs_go_on_from_its_own_predictions():
    model, frames = simvp().eval(), clips()[:, :GIVEN]
    with torch.no_grad():
        first = model.go_on(frames, GIVEN)
        second = model.go_on(first, GIVEN)
        assert torch.equal(model.go_on(frames, 7), torch.cat([first, second], 1)[:, :7])
        assert torch.equal(model.go_on(frames, 2), first[:, :2])
        (result,) = model(clips(1, GIVEN + 7), samples(1), 'predict')
    assert result.pred_frames.shape == (7, 1, SIZE, SIZE)


def test_only_the_last_given_frames_count_and_each_of_them():
    model, frames = simvp().eval(), clips(1, GIVEN + 2)
    with torch.no_grad():
        expected = model.go_on(frames, LATER)
        for place in range(GIVEN + 2):
            changed = frames.clone()
            changed[:, place] = 1 - changed[:, place]
            same = torch.equal(model.go_on(changed, LATER), expected)
            assert same == (place < 2)


def test_a_translator_block_at_scale_0_is_the_change_of_channels():
    block, x = TranslatorBlock(6, 4, 2.0).eval(), torch.randn(2, 6, 5, 7, generator=generator(0))
    assert block.attention_scale.unique().item() == block.mlp_scale.unique().item() == pytest.approx(SCALE)
    assert not torch.allclose(block(x), block.change(x), atol=1e-4)
    with torch.no_grad():
        block.attention_scale.zero_()
        block.mlp_scale.zero_()
    assert torch.equal(block(x), block.change(x)) and block(x).shape == (2, 4, 5, 7)
    assert torch.equal(TranslatorBlock(4, 4).change(x), x)


def test_the_size_of_openstl():
    with torch.device('meta'):
        model = SimVP()
    assert sum(parameter.numel() for parameter in model.parameters()) == 46_769_665


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(input_frames=0), 'expected input_frames >= 1 and translator_layers >= 2, got 0 and 3'),
        (dict(translator_layers=1), 'got 4 and 1'),
        (dict(spatial_layers=3), 'expected even numbers of spatial_layers (at least 2)'),
        (dict(spatial_channels=5), 'got 4 and 5'),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        simvp(**kwargs)


def test_clips_that_do_not_fit_are_refused():
    model = simvp()
    with pytest.raises(
        ValueError, match=r'expected clips with at least as many, got 3: set model\.input_frames'
    ):
        model(clips(), samples(given=3), 'loss')
    with pytest.raises(ValueError, match='multiples of 4, got 18 x 16'):
        model(clips(size=(18, 16)), samples(), 'loss')
    with pytest.raises(ValueError, match="got 'train'"):
        model(clips(), samples(), 'train')


def test_streams_are_refused(tmp_path):
    config = PREDICTION / 'simvp_moving_digits.py'
    with pytest.raises(ValueError, match='its model is a SimVP, expected a VideoPredictor'):
        init_predictor(config)
    torch.save(MODELS.build(Config.fromfile(config).model).state_dict(), tmp_path / 'simvp.pth')
    with pytest.raises(ValueError, match='its model is a SimVP, expected a VideoPredictor'):
        PredictionInferencer(config, tmp_path / 'simvp.pth')


def test_the_tools_train_and_test_it(tmp_path):
    cfg = Config.fromfile(PREDICTION / 'simvp_occluded_digits.py')
    cfg.model.update(spatial_channels=4, translator_channels=8)
    for part, count in (('train', None), ('val', 2), ('test', 3)):
        loader = cfg[f'{part}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset.update(max_clips=count)
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.param_scheduler[0].total_steps = 2
    config, log, work = tmp_path / 'simvp.py', tmp_path / 'output', tmp_path / 'work'
    cfg.dump(str(config))
    assert run_tool('train', [config, '--work-dir', work], output=log) == 0, log.read_text()
    out = tmp_path / 'metrics.json'
    argv = [config, work / 'iter_2.pth', '--work-dir', work, '--out', out]
    assert run_tool('test', argv, output=log) == 0, log.read_text()
    metrics = json.loads(out.read_text())
    assert {'prediction/PSNR', 'prediction/PSNR_returned', 'prediction/copy_last/PSNR_returned'} <= set(
        metrics
    )
