"""Frames with two squares that move, and their masks as annotation tools write them."""

import json

import numpy as np
from PIL import Image

from helpers.davis_tree import SIZE, draw_frame, draw_ids

NAMES = {1: 'dog', 2: 'cat'}


def add_frames(folder, number=12, ids=(1, 2), names='{}.jpg'):
    """Frames called 0.jpg, 1.jpg, ..., 10.jpg, ..."""
    folder.mkdir(parents=True)
    for index in range(number):
        Image.fromarray(draw_frame(draw_ids(index, ids))).save(folder / names.format(index), quality=95)
    return folder


def box(index, k, ids=(1, 2)):
    """Left, top, right, bottom of object k."""
    rows, columns = np.nonzero(draw_ids(index, ids) == k)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def corners(index, k):
    left, top, right, bottom = box(index, k)
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def shape(index, k, kind='polygon', **more):
    left, top, right, bottom = box(index, k)
    points = [[right, bottom], [left, top]] if kind == 'rectangle' else corners(index, k)
    return dict(label=NAMES[k], points=points, group_id=None, shape_type=kind, flags={}) | more


def add_labelme(folder, index, shapes, size=SIZE, **more):
    data = dict(version='5.4.1', flags={}, shapes=shapes, imagePath=f'{index}.jpg', imageData=None)
    path = folder / f'{index}.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data | dict(imageHeight=size[0], imageWidth=size[1]) | more))
    return path


def coco(annotations, number=12, **more):
    images = [dict(id=100 + i, file_name=f'{i}.jpg', height=SIZE[0], width=SIZE[1]) for i in range(number)]
    categories = [dict(id=k, name=name) for k, name in NAMES.items()]
    return dict(images=images, annotations=annotations, categories=categories) | more


def polygon(index, k):
    return [[value for point in corners(index, k) for value in point]]


def annotation(index, k, segmentation=None, **more):
    return (
        dict(
            id=10 * index + k,
            image_id=100 + index,
            category_id=k,
            segmentation=segmentation or polygon(index, k),
        )
        | more
    )


def save_json(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def save_cvat(path, places, ids=(1, 2)):
    """CVAT for video: a track of polygons for each object."""
    tracks = []
    for k in ids:
        shapes = []
        for index in places:
            points = ';'.join(f'{x},{y}' for x, y in corners(index, k))
            shapes.append(
                f'<polygon frame="{index}" keyframe="1" outside="0" points="{points}" z_order="0"/>'
            )
        tracks.append(f'<track id="{k}" label="{NAMES[k]}">{"".join(shapes)}</track>')
    path.write_text(f'<annotations><meta/>{"".join(tracks)}</annotations>')


def save_mots(folder, places, ids=(1, 2)):
    """MOTS: a 16-bit PNG a frame; objects are pedestrians."""
    folder.mkdir(parents=True)
    for index in places:
        mask = draw_ids(index, ids).astype(np.uint16)
        Image.fromarray(np.where(mask > 0, 2000 + mask, 0).astype(np.uint16)).save(folder / f'{index}.png')
