"""The video predictor: any memory, windows, feeding back, sampling, streams, and the sizes of the published
models."""

from types import SimpleNamespace

import pytest
import torch
from helpers.memory_cases import generator

from mmstremn.memory import MEMORIES
from mmstremn.models import PatchBackbone, PatchDecoder, PredictionLoss, PredictionStream, VideoPredictor
from mmstremn.models.prediction.given_frames import GivenFrames
from mmstremn.models.prediction.sampling import ReverseScheduledSampling, ScheduledSampling, draw_given
from mmstremn.registry import MODELS
from mmstremn.structures import PredictionDataSample

SIZE, OBSERVED, LATER = 16, 4, 3
FIXED = dict(type='SlotMemory', num_slots=3, selector=dict(type='FIFOSelector'))


def predictor(memory=None, seed=0, **kwargs):
    torch.manual_seed(seed)
    config = dict(
        type='VideoPredictor',
        backbone=dict(type='ConvBackbone', widths=(4, 8)),
        memory=memory or FIXED,
        key_channels=6,
        value_channels=8,
    )
    return MODELS.build(config | kwargs)


def clips(batch=2, length=OBSERVED + LATER, channels=1, seed=0):
    return torch.rand(batch, length, channels, SIZE, SIZE, generator=generator(seed))


def samples(batch=2, **info):
    return [
        PredictionDataSample(
            metainfo=dict(clip_name=f'clip{i}', input_frames=OBSERVED, sample_seed=i, **info)
        )
        for i in range(batch)
    ]


def predict(model, frames, names=None):
    with torch.no_grad():
        return torch.stack(
            [sample.pred_frames for sample in model.eval()(frames, names or samples(len(frames)), 'predict')]
        )


@pytest.mark.parametrize('memory_class', MEMORIES, ids=lambda cls: cls.__name__)
def test_every_memory_trains_and_predicts(memory_class):
    kernel = dict(kernel=3) if 'LSTM' in memory_class.__name__ else {}
    model = predictor(dict(type=memory_class.__name__, **kernel)).train()
    losses = model(clips(), samples(), 'loss')
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert model.value_backbone.blocks[0].conv1.weight.grad.abs().max() > 0
    assert predict(model, clips()).shape == (2, LATER, 1, SIZE, SIZE)


def test_the_future_is_not_looked_at():
    model, frames = predictor(), clips()
    other = frames.clone()
    other[:, OBSERVED:] = 0
    assert torch.equal(predict(model, frames), predict(model, other))
    other[:, OBSERVED - 1] = 0
    assert not torch.equal(predict(model, frames), predict(model, other))


def test_samples_of_a_batch_do_not_mix():
    model, frames = predictor(dict(type='SlotMemory', num_slots=2)), clips(3)
    together = predict(model, frames)
    alone = torch.cat([predict(model, frames[i : i + 1], samples(3)[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_true_frames_are_kept_for_the_metric():
    frames = (clips() * 255).round() / 255
    (first, _) = predictor().eval()(frames, samples(), 'predict')
    assert first.true_frames.dtype == torch.uint8
    torch.testing.assert_close(first.true_frames / 255, frames[0, OBSERVED:])


def test_costs_are_those_of_one_clip_of_the_batch():
    model, frames = predictor(), clips(3)
    sizes = set()
    for batch in (1, 3):
        results = model.eval()(frames[:batch], samples(batch), 'predict')
        assert all(0 < result.frame_seconds < 60 for result in results)
        sizes |= {result.state_bytes for result in results}
    stream = model.start(frames[0, 0])
    for _ in range(OBSERVED + LATER):
        stream.step()
    assert sizes == {stream.state.nbytes}


def test_state_bytes_are_the_most_of_any_frame(monkeypatch):
    model, frames = predictor().eval(), clips(1)
    predict_clip = model.predict_clip

    def with_sizes(inputs, given, data_samples, watch):
        for nbytes in (10, 30, 20):
            watch(SimpleNamespace(nbytes=nbytes))
        return predict_clip(inputs, given, data_samples)

    monkeypatch.setattr(model, 'predict_clip', with_sizes)
    (sample,) = model(frames, samples(1), 'predict')
    assert sample.state_bytes == 30


@pytest.mark.parametrize('query_frames', (1, 2, 3, 5))
def test_the_window_is_the_last_frames(query_frames):
    """An encoding changes with each of them and with no older one; at the beginning the first frame fills it
    up."""
    model = predictor(query_frames=query_frames).eval()
    frames = list(clips(1, 7).unbind(1))

    def key():
        return model.encode_window(frames).query.key

    before = key()
    for place in range(7):
        kept = frames[place]
        frames[place] = torch.zeros_like(kept)
        assert torch.equal(before, key()) == (place < 7 - query_frames)
        frames[place] = kept
    for number in range(1, query_frames):
        filled = [frames[0]] * (query_frames - number) + frames[:number]
        assert torch.equal(
            model.encode_window(frames[:number]).query.key, model.encode_window(filled).query.key
        )


def test_a_residual_of_nothing_copies_the_last_frame():
    model, frames = predictor(residual=True), clips()
    torch.nn.init.zeros_(model.decoder.predict.weight)
    torch.nn.init.zeros_(model.decoder.predict.bias)
    expected = frames[:, OBSERVED - 1 : OBSERVED].expand(-1, LATER, -1, -1, -1)
    torch.testing.assert_close(predict(model, frames), expected)


@pytest.mark.parametrize('value_frame', ['next', 'last'])
def test_a_value_is_made_of_the_frame_that_is_asked_for(value_frame):
    model, frames = predictor(value_frame=value_frame).eval(), clips(2)

    def value(newest, following):
        features = model.encode_window([frames[:1, 0], newest])
        return model.encode_value(features, model.accept(None, GivenFrames(following)), prompted=True).value

    one, other = frames[:1, 1], frames[1:, 1]
    assert torch.equal(value(one, one), value(one, other)) == (value_frame == 'last')
    assert torch.equal(value(one, other), value(other, other)) == (value_frame == 'next')
    with pytest.raises(ValueError, match="value_frame must be 'next' or 'last', got 'first'"):
        predictor(value_frame='first')


@pytest.mark.parametrize('carry', [False, True])
def test_what_was_worked_out_is_remembered_if_it_is_carried(carry):
    """The same frame after another readout: its value differs only where values hold the decoder's
    features."""
    model, frames = predictor(carry=carry).eval(), clips(1)
    features = model.encode_window([frames[:, 0]])
    readouts = torch.randn(2, 1, 1, features.query.key.shape[1], 8, generator=generator(1))
    outputs = [
        model.accept(model.decode(readout, features), GivenFrames(frames[:, 1])) for readout in readouts
    ]
    one, other = (model.encode_value(features, output, prompted=True).value for output in outputs)
    assert torch.equal(one, other) != carry
    first = model.encode_value(features, model.accept(None, GivenFrames(frames[:, 0])), prompted=True)
    assert first.value.shape == one.shape


@pytest.mark.parametrize(
    'memory, options',
    ((FIXED, {}), (FIXED, dict(carry=True)), (dict(type='STLSTMMemory', kernel=3), {})),
    ids=('slots', 'carried', 'predrnn'),
)
def test_a_stream_predicts_what_a_clip_does(memory, options):
    model, frames = predictor(memory, **options), clips(1)
    expected = predict(model, frames)[0]
    stream = model.start(frames[0, 0])
    for index in range(1, OBSERVED):
        stream.step(frames[0, index])
    found = torch.stack([stream.step() for _ in range(LATER)])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert stream.index == OBSERVED + LATER


def test_a_thousand_steps_need_no_more_memory():
    model = predictor(key_channels=2, value_channels=2, backbone=dict(type='ConvBackbone', widths=(2, 2)))
    stream = model.start(clips(channels=1)[0, 0])
    stream.step()
    early = stream.state.nbytes
    for _ in range(1000):
        stream.step()
    assert stream.state.nbytes == early
    assert len(stream._window) == model.query_frames


def test_streams_refuse_what_they_cannot_use():
    with pytest.raises(ValueError, match='the first step of a stream needs a frame'):
        PredictionStream(predictor()).step()
    stream = predictor().start(torch.zeros(1, SIZE, SIZE))
    with pytest.raises(ValueError, match=r'frame 1 is \(1, 8, 8\), but the stream began with \(1, 16, 16\)'):
        stream.step(torch.zeros(1, 8, 8))


# Training.


def test_scheduled_sampling_falls_to_zero():
    sampling = ScheduledSampling(100)
    assert [sampling.shares(i) for i in (0, 25, 100, 999)] == [(1, 1), (1, 0.75), (1, 0), (1, 0)]


def test_reverse_scheduled_sampling_has_three_phases():
    sampling = ReverseScheduledSampling(100, 200, 50)
    assert sampling.shares(0) == sampling.shares(99) == (0.5, 0.5)
    observed, later = sampling.shares(150)
    assert observed == pytest.approx(1 - 0.5 * 2.718281828**-1)
    assert later == pytest.approx(0.25)
    assert sampling.shares(200) == (1.0, 0.0)


def test_what_a_sample_sees_is_drawn_from_its_own_seed():
    model = predictor(sampling=dict(type='ReverseScheduledSampling'))
    frames = clips(4, 40)
    draws = torch.stack(draw_given(model.sampling, frames, samples(4), 0))  # (T, B)
    assert draws[0].all()
    assert 0.3 < draws[1:].float().mean() < 0.7
    alone = torch.stack(draw_given(model.sampling, frames[2:3], samples(4)[2:3], 0))
    assert torch.equal(draws[:, 2:3], alone)


def test_frames_that_are_not_given_are_the_models_own():
    """With a share of 0 for later frames the loss is that of feeding back."""

    class Never:
        def shares(self, iteration):
            return 1.0, 0.0

    model, frames = predictor(), clips()
    model.sampling = Never()
    model.eval()
    found = model.predict_clip(frames, draw_given(model.sampling, frames, samples(), 0), samples())
    torch.testing.assert_close(found[:, OBSERVED - 1 :], predict(model, frames))


def test_the_loss_may_leave_out_observed_frames():
    frames, model = clips(), predictor().eval()
    everything = model.predict_clip(frames, [True] * 7, samples())
    assert model.loss(frames, samples())['loss_l2'].item() == pytest.approx(
        (everything - frames[:, 1:]).square().mean().item(), rel=1e-5
    )
    model.predict_observed = False
    assert model.loss(frames, samples())['loss_l2'].item() == pytest.approx(
        (everything[:, OBSERVED - 1 :] - frames[:, OBSERVED:]).square().mean().item(), rel=1e-5
    )


def test_losses_are_weighted():
    predicted, target = clips(seed=1), clips(seed=2)
    losses = PredictionLoss(l1=2, l2=3)(predicted, target)
    assert set(losses) == {'loss_l1', 'loss_l2'}
    torch.testing.assert_close(losses['loss_l1'], 2 * (predicted - target).abs().mean())
    torch.testing.assert_close(losses['loss_l2'], 3 * (predicted - target).square().mean())
    with pytest.raises(ValueError, match='PredictionLoss: expected weights >= 0'):
        PredictionLoss(l2=0)


def test_ssim_of_equal_frames_costs_nothing():
    pytest.importorskip('torchmetrics')
    frames = clips()
    loss = PredictionLoss(l2=0, ssim=1)
    assert loss(frames, frames)['loss_ssim'].item() == pytest.approx(0, abs=1e-5)
    assert loss(frames, clips(seed=5))['loss_ssim'].item() > 0.5


def test_the_decoupling_loss_of_predrnn_is_added():
    model = predictor(dict(type='STLSTMMemory', kernel=3, decoupling=0.1)).train()
    losses = model(clips(), samples(), 'loss')
    assert losses['loss_decoupling'] > 0


# Patches, and the published sizes.


def test_a_model_of_patches_has_a_coarser_grid_and_frames_of_full_size():
    model = predictor(backbone=dict(type='ConvBackbone', widths=(8,), patch=4), residual=True)
    assert predict(model, clips()).shape == (2, LATER, 1, SIZE, SIZE)
    assert model.encode_window([clips()[:, 0]]).grid == (SIZE // 4, SIZE // 4)
    with torch.no_grad():
        model.decoder.predict.weight.zero_()
        model.decoder.predict.bias.copy_(torch.arange(16) / 16)  # one number for each pixel of a patch
    frame = model.tensor(torch.zeros(1, 2, 1, SIZE, SIZE))[0, 0, 0]
    assert torch.equal(frame[:4, 4:8].flatten(), torch.arange(16) / 16)
    with pytest.raises(ValueError, match=r'ConvBackbone\.patch must be at least 1'):
        predictor(backbone=dict(type='ConvBackbone', patch=0))


def test_patches_are_those_of_the_plain_reshape():
    frames = clips(1, 3, channels=2)[:, 0]
    (patches,) = PatchBackbone(2, 4)(frames)
    x = frames.permute(0, 2, 3, 1).reshape(1, 4, 4, 4, 4, 2)  # (B, h, p, w, p, C)
    expected = x.permute(0, 1, 3, 2, 4, 5).reshape(1, 4, 4, 32)
    assert torch.equal(patches.permute(0, 2, 3, 1), expected)
    readout = patches.flatten(2).mT[:, None]
    assert torch.equal(PatchDecoder(32, 2)(readout, (patches,))[0], frames)
    with pytest.raises(ValueError, match=r'PatchDecoder\.value_channels must be p'):
        PatchDecoder(15, 2)


def published(memory):
    """The model with OpenSTL's sizes on Moving MNIST: patches of 4 x 4, four layers of 128."""
    patch = dict(type='PatchBackbone', patch=4)
    with torch.device('meta'):
        return MODELS.build(
            dict(
                type='VideoPredictor',
                backbone=patch,
                memory=dict(hidden_channels=128, layers=4, **memory),
                decoder=dict(type='PatchDecoder'),
                key_channels=0,
                value_channels=16,
            )
        )


DEAD = 4 * (
    2 * 128 * 128 * 25 + 2 * 128 * 128
)  # OpenSTL's ConvLSTM cells hold two convolutions that they never call
NORMS = 4 * (
    2 * 128 * 2 * 16 * 16 - 2 * 128
)  # its layer norm has a weight for every place, ours for every channel


@pytest.mark.parametrize(
    'memory, number',
    [
        (dict(type='ConvLSTMMemory'), 15_083_520 - DEAD),
        (dict(type='STLSTMMemory'), 23_838_720),
        (dict(type='STLSTMMemory', decoupling=0.1), 23_855_104),
        (dict(type='E3DLSTMMemory'), 51_347_456 - NORMS),
    ],
    ids=('ConvLSTM', 'PredRNN', 'PredRNN-V2', 'E3D-LSTM'),
)
def test_parameters_are_as_many_as_published(memory, number):
    assert sum(p.numel() for p in published(memory).parameters()) == number


# Bad input.


def test_clips_of_different_sizes_are_refused():
    model = predictor()
    data = dict(inputs=[torch.zeros(7, 1, 16, 16), torch.zeros(7, 1, 16, 8)], data_samples=samples())
    with pytest.raises(ValueError, match=r"clip 'clip1' is \(7, 1, 16, 8\) \(T, C, H, W\), but 'clip0'"):
        model.data_preprocessor(data)


def test_keys_of_objects_are_refused():
    with pytest.raises(ValueError, match='per_object_key must be False'):
        predictor(dict(type='SlotMemory', per_object_key=True))


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode must be 'loss', 'predict' or 'tensor', got 'x'"):
        predictor()(clips(), samples(), 'x')
    assert isinstance(predictor(), VideoPredictor)
