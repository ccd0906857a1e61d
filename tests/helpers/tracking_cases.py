"""Tiny versions of mmdet's tracking models, and a generated data set in the layout of YouTube-VIS."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from helpers.runs import ROOT
from mmstremn.adapters.mmcv_ops_stub import install

pytest.importorskip('mmdet')
install()

CONFIGS = ROOT / 'configs/adapters/tracking'
MASKTRACK = CONFIGS / 'masktrack_rcnn_memory.py'
QDTRACK = CONFIGS / 'qdtrack_memory.py'
SIZE = (64, 96)
COLOURS = np.array([[220, 40, 40], [40, 220, 40], [40, 40, 220]], np.uint8)


def small_config(path) -> Config:
    """One of this repository's configs with a ResNet of a few channels, which trains on frames of 64 x 96 in
    moments."""
    cfg = Config.fromfile(path)
    shrink(cfg.model)
    return cfg


def shrink(model) -> None:
    """Make an mmdet model with a ResNet and an FPN small, in place."""
    detector = model.detector
    detector.pop('init_cfg', None)
    detector.backbone.update(depth=18, base_channels=8, frozen_stages=-1, init_cfg=None)
    detector.backbone.norm_cfg = dict(type='BN', requires_grad=True)
    detector.neck.update(in_channels=[8, 16, 32, 64])
    for key, part in walk(detector, model.get('track_head', {})):
        width = dict(
            out_channels=16, in_channels=16, feat_channels=16, conv_out_channels=16, fc_out_channels=24
        )
        width.update(embed_channels=24, num_groups=4)
        if key in width and isinstance(part[key], int):
            part[key] = width[key]
    detector.rpn_head.anchor_generator.scales = [4]
    detector.test_cfg.rcnn.max_per_img = 12
    head = model.get('track_head')
    if head is not None:
        embed = head.get('head', head).embed_head
        embed.update(in_channels=16, conv_out_channels=16, fc_out_channels=24)


def walk(*parts):
    """Every key of nested configs, with the dict that holds it."""
    for part in parts:
        if isinstance(part, dict):
            for key in list(part):
                yield key, part
                yield from walk(part[key])
        elif isinstance(part, (list, tuple)):
            yield from walk(*part)


def scene(index: int, number: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Frame (H, W, 3) uint8 RGB and masks (O, H, W) bool of rectangles that move to the right."""
    frame = np.random.default_rng(index).integers(90, 130, (*SIZE, 3), dtype=np.uint8)
    masks = np.zeros((number, *SIZE), bool)
    for place in range(number):
        top, left = 4 + 20 * place, 5 + 3 * index + 12 * place
        masks[place, top : top + 16, left : left + 20] = True
        frame[masks[place]] = COLOURS[place]
    return frame, masks


def write_youtube_vis(folder, videos: int = 1, frames: int = 4, number: int = 2):
    """Frames and ``annotations.json`` in mmdet's layout of YouTube-VIS; returns the path of the
    annotations."""
    from pycocotools import mask as mask_util

    # BaseVideoDataset wants all 40 classes of the version; names as mmdet has them.
    images, annotations, infos = [], [], []
    for video in range(videos):
        infos.append(dict(id=video + 1, name=f'video{video}', width=SIZE[1], height=SIZE[0]))
        (folder / f'video{video}').mkdir(parents=True)
        for index in range(frames):
            frame, masks = scene(index + 2 * video, number)
            name = f'video{video}/{index:05d}.png'
            Image.fromarray(frame).save(folder / name)
            image = dict(id=len(images) + 1, video_id=video + 1, frame_id=index, file_name=name)
            images.append(image | dict(width=SIZE[1], height=SIZE[0]))
            for place, mask in enumerate(masks):
                code = mask_util.encode(np.asfortranarray(mask.astype(np.uint8)))
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=image['id'],
                        video_id=video + 1,
                        category_id=place + 1,
                        instance_id=10 * (video + 1) + place,
                        bbox=mask_util.toBbox(code).tolist(),
                        area=int(mask.sum()),
                        segmentation=dict(size=code['size'], counts=code['counts'].decode()),
                        iscrowd=False,
                    )
                )
    categories = [dict(id=index + 1, name=name) for index, name in enumerate(class_names())]
    path = folder / 'annotations.json'
    path.write_text(
        json.dumps(dict(videos=infos, images=images, annotations=annotations, categories=categories))
    )
    return path


def class_names() -> tuple[str, ...]:
    """The classes of YouTube-VIS 2019 in mmdet."""
    from mmdet.datasets import YouTubeVISDataset

    YouTubeVISDataset.set_dataset_classes('2019')
    return YouTubeVISDataset.METAINFO['classes']


def dataset(path, cfg, test: bool):
    """mmdet's data set with the pipeline of a config, on frames of their own size."""
    from mmdet.registry import DATASETS

    pipeline = (cfg.test_dataloader if test else cfg.train_dataloader).dataset.pipeline
    for _, part in walk(pipeline):
        if part.get('type') == 'Resize':
            part['scale'] = SIZE[::-1]
    settings = dict(type='YouTubeVISDataset', dataset_version='2019', ann_file=str(path), pipeline=pipeline)
    return DATASETS.build(settings | dict(data_prefix=dict(img_path=str(path.parent)), test_mode=test))


def build(cfg, seed: int = 0):
    """The model of a config, with random weights that are the same every time."""
    from mmdet.registry import MODELS

    torch.manual_seed(seed)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def build_without_weights(path):
    """The model of one of this repository's configs, small."""
    return build(small_config(path))


def batch(model, items, training: bool) -> dict:
    """What the model's ``forward`` gets."""
    from mmengine.dataset import pseudo_collate

    return model.data_preprocessor(pseudo_collate(items), training)
