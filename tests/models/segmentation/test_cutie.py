"""Cutie's model: the object transformer, and a small one that streams and learns."""

import numpy as np
import pytest
import torch
from helpers.official_cases import make_video
from mmengine.config import Config

from mmstremn.memory import FIFOSelector, SlotMemory
from mmstremn.models import CutieDecoder, ObjectTransformer, PixelFuser, VOSDataPreprocessor
from mmstremn.registry import MODELS
from mmstremn.structures import VOSDataSample
from mmstremn.utils import find_config

SIZE = (48, 64)
MEMORY = dict(min_frames=3, max_frames=4, every=2, num_prototypes=4, capacity=10, buffer=2)


def small_cutie(**memory):
    cfg = Config.fromfile(find_config('vos/cutie_small_official.py')).model
    for backbone in (cfg.backbone, cfg.value_backbone):
        backbone.model_name = 'resnet10t'
    cfg.update(key_projection=16, value_channels=16, key_channels=8)
    cfg.memory.pixel_memory.update(MEMORY)
    cfg.memory.sensory_memory.channels = cfg.pixel_fuser.sensory_channels = 8
    cfg.memory.object_memory.update(num_summaries=4, channels=16)
    cfg.object_transformer.update(channels=16, num_queries=4, blocks=2, heads=2, hidden_channels=8)
    cfg.decoder.update(channels=(16, 8, 8), decoder_channels=8)
    cfg.memory.update(memory)
    cfg.memory.sensory_memory.decoder_channels = 8
    torch.manual_seed(0)
    return MODELS.build(cfg).eval()


@pytest.fixture(scope='module')
def model():
    return small_cutie()


@pytest.fixture(scope='module')
def video():
    return make_video(16, SIZE)


def play(stream, frames, ids, start=0):
    return [stream.probabilities(frame, ids.get(index)) for index, frame in enumerate(frames[start:], start)]


def test_a_saved_stream_goes_on(model, video, tmp_path):
    """Through consolidation and eviction; a new object at frame 5, a correction at 9, a removal at 12."""
    frames, ids = video
    given = {0: np.where(ids == 3, 0, ids), 5: np.where(ids == 3, 3, 0), 9: np.where(ids == 1, 1, 0)}
    stream = model.new_stream()
    play(stream, frames[:8], given)
    stream.save(tmp_path / 'stream.safetensors')
    loaded = model.load_stream(tmp_path / 'stream.safetensors')
    assert type(loaded.state) is model.memory.state_class
    for index in range(8, 16):
        if index == 12:
            stream.remove(2), loaded.remove(2)
        one, other = (s.probabilities(frames[index], given.get(index)) for s in (stream, loaded))
        assert torch.equal(one, other)
    assert len(one) == 3
    assert stream.state.prototypes > 0
    assert all(tensor.isfinite().all() for tensor in stream.state.tensors().values())


def test_bytes_stay_the_same(model, video):
    frames, ids = video
    stream = model.start(frames[0], ids)
    sizes = {stream.nbytes for index in range(60) if stream.step(frames[index % 16]) is not None}
    assert len(sizes) == 1


def test_another_memory_of_pixels_and_none_of_objects(video):
    frames, ids = video
    slots = small_cutie(pixel_memory=SlotMemory(3, FIFOSelector(), key_channels=8, value_channels=16))
    assert len(slots.start(frames[0], ids).probabilities(frames[1])) == 4
    without = small_cutie(object_memory=None)
    with pytest.raises(TypeError, match='TwoLevelMemory keeps no tokens of objects'):
        without.start(frames[0], ids).step(frames[1])
    without.object_transformer, without.reads_tokens = None, False
    assert len(without.start(frames[0], ids).probabilities(frames[1])) == 4
    without.memory = without.memory.pixel_memory
    with pytest.raises(ValueError, match=r'PixelFuser: expected a readout of 16 \+ 10 channels, got 16'):
        without.start(frames[0], ids).step(frames[1])


def test_it_learns_but_for_the_masks_that_bar(model, video):
    """Those are thresholded: the public code trains them by losses of their own."""
    frames, ids = video
    model = small_cutie().train()
    masks = torch.from_numpy(np.stack([ids] * 4))
    sample = VOSDataSample(masks=masks, metainfo=dict(object_ids=[1, 2, 3], sample_seed=0))
    clip = model.data_preprocessor.normalize(torch.from_numpy(frames[:4]).permute(0, 3, 1, 2))[None]
    losses = model.loss(clip, [sample], iteration=0)
    sum(losses.values()).backward()
    untrained = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert [name for name in untrained if 'backbone' not in name] == [
        f'object_transformer.predict.{i}.{kind}' for i in range(2) for kind in ('weight', 'bias')
    ]


@torch.no_grad()
def test_objects_that_pad_a_batch_change_nothing(model):
    transformer = model.object_transformer
    readout, tokens = torch.randn(1, 3, 12, 16), torch.randn(1, 3, 4, 16)
    alone = transformer(readout[:, :2], tokens[:, :2], (3, 4))
    padded = transformer(readout, tokens, (3, 4), torch.tensor([[True, True, False]]))
    torch.testing.assert_close(padded[:, :2], alone)


def test_which_positions_queries_see():
    transformer = ObjectTransformer(8, 4, 1, heads=2)
    logits = torch.tensor([[[9.0, 9.0, -9.0], [-9.0, -9.0, -9.0]]])  # the second object is nowhere
    barred = transformer._barred(logits, None).unflatten(0, (2, 2))
    inside, outside, all_seen = [False, False, True], [True, True, False], [False] * 3
    for head in range(2):
        assert barred[0, head].tolist() == [inside, inside, outside, outside]
        assert barred[1, head].tolist() == [all_seen] * 4


def test_tokens_of_another_number():
    with pytest.raises(ValueError, match=r'expected \(4, 8\) tokens of each object, got \(5, 8\)'):
        ObjectTransformer(8, 4, 1)(torch.zeros(1, 1, 6, 8), torch.zeros(1, 1, 5, 8), (2, 3))


def test_a_decoder_of_another_width():
    with pytest.raises(ValueError, match=r'CutieDecoder.channels must begin with value_channels \(16\)'):
        CutieDecoder(16)


def test_logits_are_enlarged_after_they_are_aggregated(model, video):
    frames, ids = video
    stream, seen = model.start(frames[0], ids), []
    handle = model.decoder.register_forward_hook(lambda _, args, output: seen.append(output[0]))
    probabilities = stream.probabilities(frames[1])
    handle.remove()
    logits = torch.cat(seen, 1).sigmoid()
    background = (1 - logits).prod(1, keepdim=True)
    joined = torch.cat([background, logits], 1).clamp(1e-7, 1 - 1e-7).logit()
    expected = torch.nn.functional.interpolate(joined, SIZE, mode='bilinear').softmax(1)[0]
    torch.testing.assert_close(probabilities, expected)


def test_the_public_padding_is_black_and_objects_are_seen_in_it():
    seen, blank = (VOSDataPreprocessor(padding='black', blank=blank) for blank in (False, True))
    assert seen.blank_margins((75, 101)) is None
    assert blank.blank_margins((75, 101)) == seen.margins((75, 101))
    frame = torch.full((1, 3, 30, 40), 200)
    assert torch.equal(seen.normalize(frame), blank.normalize(frame))


def test_the_fuser_adds_its_parts_before_it_looks_at_the_frame():
    fuser = PixelFuser(4, 3, 5)
    readout, feature = torch.randn(1, 2, 6, 9), torch.randn(1, 5, 2, 3)
    value = readout[..., :4] + torch.nn.functional.linear(
        readout[..., 4:], fuser.compress.weight[..., 0, 0], fuser.compress.bias
    )
    joined = fuser.fusion(value.flatten(0, 1).transpose(1, 2).unflatten(2, (2, 3)), feature)
    expected = joined.flatten(2).transpose(1, 2).unflatten(0, (1, 2))
    torch.testing.assert_close(fuser(readout, feature), expected)
