"""A synthetic scene: layers in front of a moving backdrop, and its picture and exact mask at any time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from mmstremn.datasets.synthetic.layers import (
    ROW,
    Geometry,
    Layer,
    Waves,
    make_leaving,
    sample_look_alike,
    sample_object,
    sample_occluder,
)
from mmstremn.datasets.synthetic.photos import PHOTOGRAPHS, colour_matrix, sample_texture

MIN_AREA = 0.018
"""Visible share of the picture that an object has where it is first labelled."""
LATEST = 40
"""Late objects are labelled before this frame."""
PROXY_SIDE = 96
"""Visibility is judged on masks of this size, so that the picture's size does not change the scene."""
SHARP = 0.3
"""A blur of fewer pixels is not drawn."""
MARGIN = 1.5
"""The backdrop's side over the picture's: room for the camera to move."""


class SceneSpec(NamedTuple):
    """What a synthetic scene is a function of.

    Attributes:
        split: Whose photographs are used: 'train', 'dev' or 'test'.
        seed: Non-negative.
        size: (H, W) in pixels.
        max_objects: The scene has 1 to this many objects.
        late_objects: Probability that an object, but the first, appears after frame 0.
    """

    split: str
    seed: int
    size: tuple[int, int]
    max_objects: int = 3
    late_objects: float = 0.0

    def build(self) -> 'Scene':
        """The scene; those built last are kept."""
        return build_scene(self)


@dataclass(eq=False)
class Scene:
    """Layers in front of a moving backdrop.

    Attributes:
        size: (H, W) in pixels.
        layers: From back to front.
        camera: Waves that move the backdrop and change the light.
        backdrop: (MARGIN * H, MARGIN * W, 3) uint8, or None where only masks are wanted.
    """

    size: tuple[int, int]
    layers: list[Layer]
    camera: Waves
    backdrop: np.ndarray | None = None

    def mask(self, time: int) -> np.ndarray:
        """Ids of a frame, (H, W) uint8."""
        ids = np.zeros(self.size, np.uint8)
        for layer in self.layers:
            geometry = layer.geometry(layer.waves(time), self.size)
            if geometry is not None:
                _label(ids, layer, geometry, time)
        return ids

    def render(self, time: int) -> tuple[np.ndarray, np.ndarray]:
        """A frame, (H, W, 3) uint8 RGB, and its ids, (H, W) uint8."""
        ids = np.zeros(self.size, np.uint8)
        light = self.camera(time)
        picture = self._view(light)
        for layer in self.layers:
            values = layer.waves(time)
            geometry = layer.geometry(values, self.size)
            if geometry is not None:
                blur = layer.blur(time) * np.sqrt(picture.shape[0] * picture.shape[1]) if layer.blur else 0.0
                _paint(picture, layer, geometry, values, blur)
                _label(ids, layer, geometry, time)
        return cv2.transform(picture, _drift(light)), ids

    def _view(self, values: np.ndarray):
        """The part of the backdrop that the camera sees."""
        height, width = self.size
        zoom, angle = np.exp(values[ROW['log_scale']]), values[ROW['angle']]
        turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        target = np.array(self.backdrop.shape[1::-1]) / 2 + (values[:2] - 0.5) * (width, height)
        matrix = np.column_stack([turn, target - turn @ (width / 2, height / 2)])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            self.backdrop, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101
        )


def _drift(values: np.ndarray):
    tint = values[ROW['tint_i']], values[ROW['tint_q']]
    return colour_matrix(1 + values[ROW['contrast']], values[ROW['brightness']], tint=tint)


def _label(ids: np.ndarray, layer: Layer, geometry: Geometry, time: int) -> None:
    label = layer.object_id if time >= layer.first_labelled else 0
    ids[geometry.window][geometry.alpha > 0.5] = label


def _paint(picture: np.ndarray, layer: Layer, geometry: Geometry, values: np.ndarray, blur: float) -> None:
    """Blend a layer into the picture, in place; ``blur`` is a standard deviation in pixels."""
    height, width = layer.textures[0].shape[:2]
    x_scale, y_scale = width / (2 * layer.reach), height / (2 * layer.reach)
    patch = cv2.remap(
        _texture(layer, values[ROW['blend']]),
        geometry.x * np.float32(x_scale) + np.float32(width / 2 - 0.5),
        geometry.y * np.float32(y_scale) + np.float32(height / 2 - 0.5),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    patch = cv2.transform(patch, _drift(values))
    alpha = geometry.alpha
    if blur > SHARP:
        patch, alpha = (cv2.GaussianBlur(sharp, (0, 0), blur) for sharp in (patch, alpha))
    region = picture[geometry.window]
    picture[geometry.window] = cv2.blendLinear(patch, region, alpha, 1 - alpha)


def _texture(layer: Layer, blend: float):
    if len(layer.textures) == 1:
        return layer.textures[0]
    first, second, share = ring_position(blend, len(layer.textures))
    if share == 0:
        return layer.textures[first]
    return cv2.addWeighted(layer.textures[first], 1 - share, layer.textures[second], share, 0)


def ring_position(blend: float, count: int) -> tuple[int, int, float]:
    """The two of ``count`` textures on a ring that a blend position lies between, and the share of the
    second."""
    first = math.floor(blend)
    return first % count, (first + 1) % count, blend - first


@lru_cache(maxsize=4)
def build_scene(spec: SceneSpec) -> Scene:
    """The scene of a spec: layers drawn until every object is well visible where it is first labelled, then
    textures."""
    rng = np.random.default_rng(spec.seed)
    proxy = proxy_size(spec.size)
    count, attempt = rng.integers(1, spec.max_objects + 1), 0
    layers = None
    while layers is None:
        wanted = max(1, count - attempt // 20)
        layers = _accepted(_sample_layers(rng, wanted, spec.late_objects), proxy)
        attempt += 1
    camera = Waves.sample(rng, strength=0.35)
    camera.amplitude[ROW['angle']] *= 0.3
    return _textured(rng, spec, layers, camera)


def proxy_size(size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of the masks that visibility is judged on."""
    scale = PROXY_SIDE / max(size)
    return tuple(max(8, round(side * scale)) for side in size)


def _sample_layers(rng: np.random.Generator, count: int, late_objects: float):
    """Layers from back to front: objects and perhaps a look-alike in any order, then perhaps occluders.

    Late objects have the highest ids; ``first_labelled`` marks them with -1.
    """
    objects = [sample_object(rng, object_id) for object_id in range(1, count + 1)]
    num_late = np.count_nonzero(rng.random(count - 1) < late_objects)
    for layer in objects[count - num_late :]:
        layer.first_labelled = -1
        make_leaving(rng, layer, late=True)
    if rng.random() < 0.45:
        make_leaving(rng, objects[0])
    layers = list(objects)
    if rng.random() < 0.35:
        layers.append(sample_look_alike(rng, objects[rng.integers(count)]))
    layers = [layers[place] for place in rng.permutation(len(layers))]
    return layers + [sample_occluder(rng) for _ in range(rng.choice(3, p=(0.4, 0.45, 0.15)))]


def _accepted(layers: list[Layer], size: tuple[int, int]):
    """The layers, with the frame from which late objects are labelled; None if an object is not well visible
    then."""
    scene = Scene(size, layers, camera=None)
    late = [layer for layer in layers if layer.first_labelled < 0]
    objects = [layer for layer in layers if layer.object_id and layer.first_labelled == 0]
    for layer in late:
        layer.first_labelled = LATEST
    if any(visible_area(scene, layer, 0) < MIN_AREA for layer in objects):
        return None
    for layer in late:
        layer.first_labelled = 1
        shown = (time for time in range(1, LATEST) if visible_area(scene, layer, time) >= MIN_AREA)
        layer.first_labelled = next(shown, LATEST)
    first_labelled = sorted(layer.first_labelled for layer in late)
    if LATEST in first_labelled:
        return None
    ids = sorted(layer.object_id for layer in late)
    in_order = sorted(late, key=lambda layer: layer.first_labelled)
    for object_id, layer in zip(ids, in_order, strict=True):
        layer.object_id = object_id
    return layers


def visible_area(scene: Scene, layer: Layer, time: int) -> float:
    """The share of the picture that shows an object."""
    return (scene.mask(time) == layer.object_id).mean()


def _textured(rng: np.random.Generator, spec: 'SceneSpec', layers: list[Layer], camera: Waves):
    names = PHOTOGRAPHS[spec.split]
    backdrop_size = tuple(round(MARGIN * side) for side in spec.size)
    backdrop, mean, used = sample_texture(rng, names, backdrop_size, [], share=(0.55, 1.0))
    others = [name for name in names if name != used]
    means = [mean]
    for layer in layers:
        if not layer.textures:
            means.append(_add_textures(rng, layer, others, spec.size, means))
    return Scene(spec.size, layers, camera, backdrop)


def _add_textures(
    rng: np.random.Generator,
    layer: Layer,
    names: Sequence[str],
    size: tuple[int, int],
    avoid: Sequence[np.ndarray],
):
    """Give a layer its texture, and another to blend into if it does; returns the mean colour."""
    size = texture_size(layer, size)
    texture, mean, _ = sample_texture(rng, names, size, avoid)
    layer.textures.append(shaded(texture, layer, rng.uniform(0, 2 * np.pi)))
    if layer.waves.amplitude[ROW['blend'], 0] > 0:
        texture, _, _ = sample_texture(rng, names, size, avoid)
        layer.textures.append(shaded(texture, layer, rng.uniform(0, 2 * np.pi)))
    return mean


def texture_size(layer: Layer, size: tuple[int, int]) -> tuple[int, int]:
    """(h, w) in pixels of a layer's textures in a picture of (H, W)."""
    return tuple(int(np.clip(2.3 * layer.reach * axis, 8, 640)) for axis in reversed(layer.axes(size)))


def shaded(texture: np.ndarray, layer: Layer, light: float) -> np.ndarray:
    """The texture, darker towards the contour and on the side away from the light, as on a rounded body."""
    height, width = texture.shape[:2]
    x = np.linspace(-layer.reach, layer.reach, width, dtype=np.float32)
    y = np.linspace(-layer.reach, layer.reach, height, dtype=np.float32)[:, None]
    toward_light = np.float32(np.cos(light)) * x + np.float32(np.sin(light)) * y
    shade = np.clip(1.08 + 0.16 * toward_light - 0.22 * (x * x + y * y), 0.4, 1.3)
    return cv2.convertScaleAbs(texture * shade[..., None])
