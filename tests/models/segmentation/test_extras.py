"""What a segmentor gives to a memory beside key and value, and to a decoder beside the readout."""

import pytest
import torch
from helpers.vos_cases import SquaresVideo, make_batch, make_clip, tiny_model
from torch import nn

from mmstremn.memory import Gate
from mmstremn.models import MaskDecoder
from mmstremn.registry import MODELS

POINTERS = dict(type='RecentPromptedMemory', num_recent=2, num_prompted=1, num_pointers=3)


class Watch(Gate):
    """Keeps what a gate is told of every entry."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, logits, state, entry):
        self.seen.append(entry)
        return logits


def watched(model):
    model.memory.gates.append(Watch())
    return model, model.memory.gates[-1].seen


def play(model, video):
    stream = model.start(video.frame(0), video.mask(0))
    return [stream.probabilities(video.frame(index)) for index in range(1, video.num_frames)]


# Confidence.


def test_confidence_is_how_sure_the_mask_is_of_each_position():
    """By its definition: the mean of max(p, 1 - p) over the 16 x 16 pixels of a position."""
    model, seen = watched(tiny_model())
    video = SquaresVideo(3, (32, 48), appear=(0, 0))
    probabilities = play(model, video)
    for entry, probability in zip(seen[1:], probabilities, strict=True):
        confidence = entry.extras['confidence']
        assert confidence.shape == (1, 2, 6) == entry.value.shape[:3]
        for index, own in enumerate(probability[1:]):
            sure = torch.where(own > 0.5, own, 1 - own)
            for position in range(6):
                top, left = 16 * (position // 3), 16 * (position % 3)
                expected = sure[top : top + 16, left : left + 16].mean()
                torch.testing.assert_close(confidence[0, index, position], expected, rtol=1e-5, atol=1e-5)
        assert confidence.min() >= 0.5 and confidence.max() <= 1 and confidence.std() > 1e-3


def test_what_the_user_gives_is_certain():
    model, seen = watched(tiny_model())
    video = SquaresVideo(3, (32, 48))
    play(model, video)
    torch.testing.assert_close(seen[0].extras['confidence'], torch.ones(1, 1, 6), rtol=0, atol=1e-5)
    assert seen[1].extras['confidence'].min() < 0.99


def test_in_training_it_has_no_gradient_and_a_row_for_every_object():
    model, seen = watched(tiny_model().train())
    model(**make_batch(model, make_clip(0, objects=2), make_clip(1)), mode='loss')
    assert all(entry.extras['confidence'].shape == entry.value.shape[:3] for entry in seen)
    assert not any(entry.extras['confidence'].requires_grad for entry in seen)
    assert any(entry.extras['mask'].requires_grad for entry in seen)


@pytest.mark.parametrize('probability, stored', [(0.0, [0, 1, 2]), (1.0, [0, -1, -1])])
def test_a_gate_reads_the_confidence_of_a_model(probability, stored):
    gates = [
        dict(type='EmptyFirst'),
        dict(type='KeepFirst'),
        dict(type='MinConfidence', probability=probability),
    ]
    model = tiny_model(dict(type='SlotMemory', num_slots=3, gates=gates))
    video = SquaresVideo(3, (32, 48))
    stream = model.start(video.frame(0), video.mask(0))
    for index in (1, 2):
        stream.step(video.frame(index))
    assert stream.state.written_at[0, 0].tolist() == stored


# Tokens of objects.


@pytest.fixture(scope='module')
def token_decoder():
    """The name of a decoder that adds a projection of the mean token to the readout."""

    @MODELS.register_module(name='TokenDecoderOfTests', force=True)
    class TokenDecoder(MaskDecoder):
        reads_tokens = True

        def __init__(self, value_channels, feature_channels, channels, strides):
            super().__init__(value_channels, feature_channels, channels, strides)
            self.from_token = nn.Linear(value_channels, value_channels)
            self.given = []

        def forward(self, readout, maps, tokens):
            self.given.append(tokens.clone())
            return super().forward(readout + self.from_token(tokens.mean(2))[:, :, None], maps)

    return 'TokenDecoderOfTests'


def token_model(name, memory=POINTERS, **kwargs):
    return tiny_model(memory, decoder=dict(type=name, channels=(16, 8, 8)), **kwargs)


def test_a_decoder_that_asks_for_tokens_gets_those_of_the_memory(token_decoder):
    model = token_model(token_decoder)
    video = SquaresVideo(4, appear=(0, 0))
    stream = model.start(video.frame(0), video.mask(0))
    for index in range(1, 4):
        before = stream.state.pointers.clone()
        stream.step(video.frame(index))
        assert torch.equal(model.decoder.given[-1], before) and before.shape == (1, 2, 3, 16)
    assert before.abs().sum() > 0


def test_tokens_change_the_masks_and_go_with_their_objects_in_chunks(token_decoder):
    video = SquaresVideo(4, appear=(0, 0))
    whole = play(token_model(token_decoder), video)
    chunked = play(token_model(token_decoder, objects_at_once=1), video)
    torch.testing.assert_close(whole, chunked, rtol=1e-5, atol=1e-5)
    without = token_model(token_decoder)
    nn.init.zeros_(without.decoder.from_token.weight)
    assert (play(without, video)[-1] - whole[-1]).abs().max() > 1e-3


def test_what_reads_tokens_learns(token_decoder):
    model = token_model(token_decoder).train()
    sum(model(**make_batch(model, make_clip(0, objects=2)), mode='loss').values()).backward()
    assert model.decoder.from_token.weight.grad.abs().sum() > 0


def test_a_memory_without_tokens_says_so(token_decoder):
    model = token_model(token_decoder, dict(type='SlotMemory', num_slots=3))
    with pytest.raises(TypeError, match=r'SlotMemory keeps no tokens.*RecentPromptedMemory'):
        play(model, SquaresVideo(2))
