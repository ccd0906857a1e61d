"""Fit the presence head of a trained model: ``python tools/fit_presence.py CONFIG CHECKPOINT OUT``.

The head sees two numbers per object and frame, which do not depend on its own weights as long as true
presence gates what is stored. So they are recorded once, from a few clips of ``train_dataloader`` and a few
videos of ``fit_videos``, and the head is fitted to them in seconds. The checkpoint that is written holds the
model with the fitted head.
"""

import argparse
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import DictAction
from mmengine.registry import DefaultScope
from mmengine.runner.checkpoint import _load_checkpoint
from rich.progress import track
from torch import Tensor

from mmstremn.checkpoints.matching import without_backbone_weights
from mmstremn.checkpoints.weight_files import write_weights
from mmstremn.datasets import SampleRequest
from mmstremn.engine.launch import load_config
from mmstremn.engine.run_main import run_main
from mmstremn.registry import DATASETS, MODELS

LEAST_PIXELS = 16  # of an object that must be found
STEPS = 800


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Fit the presence head of a trained model')
    parser.add_argument('config', help='config file with model.presence, train_dataloader and fit_videos')
    parser.add_argument('checkpoint', help='weights of the model, with or without a presence head')
    parser.add_argument('out', type=Path, help='checkpoint to write, .pth or .safetensors')
    parser.add_argument('--clips', type=int, default=25, help='clips to record')
    parser.add_argument('--videos', type=int, default=6, help='videos to record')
    parser.add_argument('--video-weight', type=float, default=0.8, help='of the videos in the loss, 0..1')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> float:
    """Record, fit, write; the loss at the end."""
    args = parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    torch.manual_seed(args.seed)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(without_backbone_weights(cfg.model))
        clips, videos = (DATASETS.build(data) for data in (cfg.train_dataloader.dataset, cfg.fit_videos))
    weights = _load_checkpoint(args.checkpoint, map_location='cpu')['state_dict']
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or any(not key.startswith('presence.') for key in missing):
        raise ValueError(
            f'{args.checkpoint}: missing {missing}, unexpected {unexpected}; '
            'expected the weights of the model'
        )
    rng = np.random.default_rng(args.seed)
    of_clips = [record_clip(model, clips, rng) for _ in track(range(args.clips), 'Clips')]
    chosen = rng.permutation(len(videos))[: args.videos].tolist()
    of_videos = [record_video(model, videos, index) for index in track(chosen, 'Videos')]
    loss = fit(model.presence.score, of_clips, of_videos, args.video_weight)
    about = dict(source=str(args.checkpoint), presence_loss=loss)
    digest = write_weights(args.out, model.state_dict(), about)
    print(f'loss {loss:.4f}\n{args.out}: SHA-256 {digest}')
    return loss


@contextmanager
def inputs_of(module: torch.nn.Module):
    """The inputs (O, 2) that the head's network gets in each frame, as a list that grows."""
    seen: list[Tensor] = []
    handle = module.register_forward_hook(lambda _, args, output: seen.append(args[0].detach()[0]))
    try:
        yield seen
    finally:
        handle.remove()


@torch.no_grad()
def record_clip(model, clips, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Inputs (N, 2) and truth (N,) of a clip's frames and objects."""
    item = clips[SampleRequest(int(rng.integers(len(clips))), int(rng.integers(2**31)))]
    batch = dict(inputs=[item['inputs']], data_samples=[item['data_samples']])
    with inputs_of(model.presence.score) as seen:
        model.train()(**model.data_preprocessor(batch, training=True), mode='tensor')
    masks = item['data_samples'].masks.numpy()
    return labelled(seen, lambda index: masks[index], list(range(1, len(seen[0]) + 1)))


@torch.no_grad()
def record_video(model, videos, index: int) -> tuple[Tensor, Tensor]:
    """The same of a whole video, in which true presence decides what is stored."""
    item = videos[index]
    video, ids = item['inputs'], item['data_samples'].object_ids
    encode, model.presence.threshold = model.encode_value, 0.0
    with inputs_of(model.presence.score) as seen:

        def encode_with_truth(features, output, prompted):
            entry = encode(features, output, prompted)
            known = ids[: entry.value.shape[1]]  # others come later
            shown = [[float((video.mask(len(seen)) == k).any()) for k in known]]
            entry.extras['presence'] = torch.tensor(shown)
            return entry

        model.encode_value = encode_with_truth
        model.predict([video], [item['data_samples']])
    del model.encode_value
    return labelled(seen, video.mask, ids)


def labelled(seen: list[Tensor], mask: Callable, ids: list[int]) -> tuple[Tensor, Tensor]:
    """Inputs and truth of the frames from 1 on; objects of fewer than ``LEAST_PIXELS``, but some, are left
    out."""
    rows, truth = [], []
    for index, inputs in enumerate(seen, 1):
        for row, k in zip(inputs, ids, strict=False):
            pixels = int((mask(index) == k).sum())
            if pixels == 0 or pixels >= LEAST_PIXELS:
                rows.append(row)
                truth.append(float(pixels > 0))
    return torch.stack(rows), torch.tensor(truth)


def fit(network: torch.nn.Module, of_clips: list, of_videos: list, video_weight: float) -> float:
    """Fit the head's network; both kinds of samples weigh as much as ``video_weight`` says. The last loss."""
    parts = [(of_clips, 1 - video_weight), (of_videos, video_weight)]
    sets = [(*map(torch.cat, zip(*part, strict=True)), weight) for part, weight in parts if part]
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        loss = sum(w * F.binary_cross_entropy_with_logits(network(x)[:, 0], y) for x, y, w in sets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return loss.item()


if __name__ == '__main__':
    sys.exit(run_main(main, 'fit_presence'))
