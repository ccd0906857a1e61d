"""Long synthetic videos in which what a memory keeps decides: objects leave for long and return in an earlier
look."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import count
from typing import Any, NamedTuple

import cv2
import numpy as np

from mmstremn.datasets.synthetic.journeys import (
    Body,
    Door,
    Plan,
    Track,
    blurs,
    drift,
    impostor,
    slow_size_and_turn,
    sway,
    visits,
    wander,
)
from mmstremn.datasets.synthetic.layers import ROW, Layer, Waves, blob, rounded_polygon, sample_occluder
from mmstremn.datasets.synthetic.photos import PHOTOGRAPHS, colour_matrix, sample_texture
from mmstremn.datasets.synthetic.rendered_video import SyntheticVideo
from mmstremn.datasets.synthetic.scene import (
    MARGIN,
    SHARP,
    Scene,
    proxy_size,
    ring_position,
    shaded,
    texture_size,
    visible_area,
)
from mmstremn.datasets.synthetic.short_videos import NUM_VIDEOS, SyntheticVOSDataset, scene_seed
from mmstremn.registry import DATASETS

LENGTHS = {'dev': (200, 300, 400, 600, 800, 1000), 'test': (200, 300, 400, 500, 600, 800, 1200, 2000)}
"""Frames of the fixed videos."""
MIN_AREA = 0.025
"""Share of the picture that every object covers in frame 0."""
APART = 85.0
"""Wanted distance in RGB between the mean colours of any two looks in a scene."""
NEAR = 55.0
"""Distance in RGB of a look-alike's mean colour from the look that it resembles."""
BLUR = 0.018
"""Strongest blur as a share of sqrt(H * W): 2.3 pixels at 128."""


class Recipe(NamedTuple):
    """What a scenario is made of.

    Attributes:
        leaves: Objects come and go; otherwise they stay and their looks drift.
        slow: Scale and angle drift slowly; otherwise they are new on every visit.
        blends: Look-alikes with the mean of an object's looks.
        cousins: Look-alikes with one of an object's looks, in another colour.
        impostors: Look-alikes that come in where the first object left.
    """

    leaves: bool
    slow: bool
    blends: int
    cousins: int
    impostors: int


RECIPES = {
    'return': Recipe(leaves=True, slow=False, blends=0, cousins=1, impostors=0),
    'look_alikes': Recipe(leaves=True, slow=False, blends=1, cousins=1, impostors=1),
    'drift': Recipe(leaves=False, slow=True, blends=0, cousins=1, impostors=0),
    'mixed': Recipe(leaves=True, slow=True, blends=1, cousins=0, impostors=1),
}


class LongSceneSpec(NamedTuple):
    """What a long scene is a function of. A longer one begins as a shorter one does.

    Attributes:
        split: Whose photographs are used: 'train', 'dev' or 'test'.
        seed: Non-negative.
        size: (H, W) in pixels.
        max_objects: The scene has 1 to this many objects, at most 2.
        scenario: One of ``RECIPES``.
        num_frames: T; the schedule ends there.
    """

    split: str
    seed: int
    size: tuple[int, int]
    max_objects: int
    scenario: str
    num_frames: int

    def build(self) -> 'LongScene':
        """The scene; those built last are kept."""
        return build_long_scene(self)


@dataclass(eq=False)
class LongScene(Scene):
    """A scene whose whole picture is blurred at times.

    Attributes:
        blur: From a time to (2,) standard deviations along x and y, as shares of sqrt(H * W).
    """

    blur: Track | None = None

    def render(self, time: int) -> tuple[np.ndarray, np.ndarray]:
        """A frame, (H, W, 3) uint8 RGB, and its ids, (H, W) uint8."""
        picture, ids = super().render(time)
        x, y = self.blur_pixels(time)
        if max(x, y) > SHARP:
            picture = cv2.GaussianBlur(picture, (0, 0), max(x, 1e-3), sigmaY=max(y, 1e-3))
        return picture, ids

    def blur_pixels(self, time: int) -> np.ndarray:
        """(2,) standard deviations of the whole picture's blur in pixels, along x and y."""
        return self.blur(time) * np.sqrt(self.size[0] * self.size[1])

    def truth(self, time: int) -> dict[int, dict]:
        """See ``LongSyntheticVideo.truth``."""
        areas = np.bincount(self.mask(time).ravel(), minlength=256) / (self.size[0] * self.size[1])
        return {layer.object_id: self._truth(layer, time, areas) for layer in self.layers if layer.object_id}

    def _truth(self, layer: Layer, time: int, areas: np.ndarray):
        values = layer.waves(time)
        appearance = np.zeros(len(layer.textures))
        first, second, share = ring_position(values[ROW['blend']], len(layer.textures))
        appearance[first] += 1 - share
        appearance[second] += share
        own = layer.blur(time) * np.sqrt(self.size[0] * self.size[1])
        return dict(
            visible=float(areas[layer.object_id]),
            appearance=appearance,
            x=float(values[ROW['x']]),
            y=float(values[ROW['y']]),
            scale=float(np.exp(values[ROW['log_scale']])),
            angle=float(values[ROW['angle']]),
            blur=float(np.sqrt(own**2 + (self.blur_pixels(time) ** 2).mean())),
        )


@lru_cache(maxsize=4)
def build_long_scene(spec: LongSceneSpec) -> LongScene:
    """The scene of a spec: drawn until every object is well visible in frame 0, then textured."""
    proxy = proxy_size(spec.size)
    for attempt in count():
        layers = _sample_layers(spec, attempt)
        scene = Scene(proxy, layers, camera=None)
        if all(visible_area(scene, layer, 0) >= MIN_AREA for layer in layers if layer.object_id):
            break
    rng = np.random.default_rng((spec.seed, attempt, 1))
    camera = Waves.sample(rng, strength=0.3)
    camera.amplitude[ROW['angle']] *= 0.3
    backdrop = _add_textures(rng, spec, layers)
    blur = blurs(np.random.default_rng((spec.seed, attempt, 2)), spec.num_frames, np.array([BLUR, BLUR]))
    return LongScene(spec.size, layers, camera, backdrop, blur)


def _sample_layers(spec: LongSceneSpec, attempt: int):
    """Layers from back to front: look-alikes and objects in any order, then what is in front of everything.

    Until they have textures, objects have a list of as many None as they have looks, and look-alikes a pair
    of the object and the kind of their look.
    """
    recipe = RECIPES[spec.scenario]
    rng = np.random.default_rng((spec.seed, attempt, 0))
    number = rng.integers(1, spec.max_objects + 1)
    objects = [_sample_shape(rng, object_id) for object_id in range(1, number + 1)]
    panel, door = _sample_panel(rng, spec, objects) if recipe.leaves and rng.random() < 0.6 else (None, None)
    plans = []
    for layer in objects:
        looks = 3 if number > 1 else int(rng.integers(3, 5))
        slow = slow_size_and_turn(rng) if recipe.slow else None
        body = Body(looks, _extent(layer, spec.size), slow, door)
        plans.append(_scheduled(layer, body, visits if recipe.leaves else drift, spec, attempt))
        layer.textures = [None] * looks
    models = [objects[rng.integers(number)] for _ in range(recipe.blends + recipe.cousins)]
    kinds = ['blend'] * recipe.blends + ['cousin'] * recipe.cousins
    planners = [wander] * len(models)
    if recipe.impostors:
        models += objects[:1] * recipe.impostors
        kinds += ['cousin'] * recipe.impostors
        planners += [partial(impostor, absences=plans[0].absences)] * recipe.impostors
    layers = list(objects)
    for place, (model, kind, planner) in enumerate(zip(models, kinds, planners, strict=True)):
        twin = replace(model, object_id=0, textures=[model, kind])
        _scheduled(twin, Body(1, _extent(twin, spec.size)), planner, spec, attempt, stream=10 + place)
        layers.append(twin)
    layers = [layers[place] for place in rng.permutation(len(layers))]
    if rng.random() < 0.2:
        layers.append(sample_occluder(rng))
    return layers + [panel] * (panel is not None)


def _sample_shape(rng: np.random.Generator, object_id: int):
    angles = rng.uniform(0, 2 * np.pi, 4)
    return Layer(object_id, blob(rng), angles, rng.uniform(0.12, 0.165), rng.uniform(1, 1.4), waves=None)


def _scheduled(
    layer: Layer,
    body: Body,
    planner: Callable[..., Plan],
    spec: LongSceneSpec,
    attempt: int,
    stream: int | None = None,
):
    """Give a layer its journey and its blur, from a random stream of its own; returns the plan."""
    stream = layer.object_id if stream is None else stream
    waves, schedule, blur = np.random.default_rng((spec.seed, attempt, 3, stream)).spawn(3)
    plan = planner(schedule, body, num_frames=spec.num_frames)
    layer.waves = plan.journey(sway(waves))
    layer.blur = blurs(blur, spec.num_frames, BLUR)
    return plan


def _extent(layer: Layer, size: tuple[int, int]):
    """(2,) half sides in shares of W and H that hold the layer at scale 1, however it turns and bends."""
    extent = layer.radius * np.sqrt(layer.aspect) * layer.rest.max() * 1.25
    return extent * np.sqrt(size[0] * size[1]) / np.array([size[1], size[0]])


def _sample_panel(rng: np.random.Generator, spec: LongSceneSpec, objects: list[Layer]):
    """A panel in a corner, and the door it makes: objects shrink until they fit behind it."""
    half = rng.uniform(0.15, 0.19)
    shortest = min(spec.size) / np.sqrt(spec.size[0] * spec.size[1])
    extent = max((_extent(layer, spec.size)).max() for layer in objects)
    place = 0.5 + rng.choice((-1, 1), 2) * (0.5 - half)
    contour = rounded_polygon(4)
    waves = sway(rng)
    waves.centre[:2] = place
    waves.amplitude[: ROW['blend'] + 1] = 0
    panel = Layer(0, contour, rng.uniform(0, 2 * np.pi, 4), half * shortest / contour.min(), 1.0, waves)
    return panel, Door(*place, float(np.log(half / extent)))


def _add_textures(rng: np.random.Generator, spec: LongSceneSpec, layers: list[Layer]):
    """Give all layers their textures; returns the backdrop."""
    names = PHOTOGRAPHS[spec.split]
    backdrop_size = tuple(round(MARGIN * side) for side in spec.size)
    backdrop, _, used = sample_texture(rng, names, backdrop_size, [], share=(0.55, 1.0))
    backdrop = cv2.transform(backdrop, colour_matrix(contrast=0.6, saturation=0.6))
    names = [name for name in names if name != used]
    taken = [backdrop.mean((0, 1))]
    for layer in layers:
        if layer.object_id:
            layer.textures = [_look(rng, names, layer, spec.size, taken) for _ in layer.textures]
    for layer in layers:
        if not layer.textures:
            layer.textures = [_look(rng, names, layer, spec.size, taken)]
        elif not layer.object_id:
            layer.textures = [_twin_look(rng, *layer.textures, taken)]
    return backdrop


def _look(
    rng: np.random.Generator,
    names: Sequence[str],
    layer: Layer,
    size: tuple[int, int],
    taken: list[np.ndarray],
):
    """A texture whose mean colour is far from those ``taken``; it joins them."""
    texture, _, _ = sample_texture(rng, names, texture_size(layer, size), [], share=(0.2, 0.5))
    texture = texture.astype(np.float32)
    candidates = rng.uniform(35, 220, (300, 3))
    distances = np.linalg.norm(candidates[:, None] - np.array(taken), axis=-1).min(1)
    colour = candidates[np.argmax(np.minimum(distances, APART))]
    taken.append(colour)
    mean, contrast = texture.mean((0, 1)), min(1, 32 / max(texture.std((0, 1)).mean(), 1))
    return shaded(np.clip((texture - mean) * contrast + colour, 0, 255), layer, rng.uniform(0, 2 * np.pi))


def _twin_look(rng: np.random.Generator, model: Layer, kind: str, taken: list[np.ndarray]):
    """A look close to an object's: the mean of all its looks, or one of them in another colour.

    It is repainted too where the mean can hardly be told from one of the looks.
    """
    looks = np.stack(model.textures).astype(np.float32)
    mean = looks.mean(0)
    if kind == 'blend' and np.linalg.norm((looks - mean).mean((1, 2)), axis=-1).min() > 0.6 * NEAR:
        return mean.round().astype(np.uint8)
    look = looks[rng.integers(len(looks))][:, ::-1]
    steps = rng.normal(size=(60, 3))
    candidates = look.mean((0, 1)) + NEAR * steps / np.linalg.norm(steps, axis=1, keepdims=True)
    candidates = np.clip(candidates, 25, 230)
    distances = np.linalg.norm(candidates[:, None] - np.array(taken), axis=-1).min(1)
    colour = candidates[np.argmax(distances)]
    taken.append(colour)
    return np.clip(look - look.mean((0, 1)) + colour, 0, 255).astype(np.uint8)


class LongSyntheticVideo(SyntheticVideo):
    """A long video with exact masks, and the truth about its objects for studies."""

    def truth(self, index: int) -> dict[int, dict]:
        """What is true of every labelled object in a frame; no picture is rendered for it.

        Returns:
            For each object id a dict of

            - ``visible``: share of the picture's pixels, as in the mask; 0 where the object is away or
            hidden,
            - ``appearance``: (K,) shares of its K textures in what it looks like, of sum 1,
            - ``x``, ``y``: its centre in shares of W and H, outside 0..1 where it is away,
            - ``scale``: its length over that at rest,
            - ``angle``: in radians, not wrapped,
            - ``blur``: standard deviation in pixels of its own and the whole picture's blur together.

        Raises:
            IndexError: The video has no such frame.
        """
        self._check(index)
        return self.spec.build().truth(index)


@DATASETS.register_module()
class LongSyntheticVOSDataset(SyntheticVOSDataset):
    """Videos of hundreds of frames, of 1 or 2 objects, in which what a memory keeps decides.

    Scenarios, in turn:

    - 'return': an object shows its 3 or 4 very different looks one after the other, leaves for 20 to 150
      frames (out of the picture or behind a panel), and returns elsewhere, in another pose and scale, in a
      look that it had before but not of late; and so on.
    - 'look_alikes': the same beside objects with the mean of its looks, with one of them in another colour,
      and with one that comes in where it left.
    - 'drift': looks, scale and pose drift slowly and completely and swing back.
    - 'mixed': all of it.

    Pictures are out of focus or blurred by motion for stretches of time. Objects are prompted in frame 0
    alone.

    A training item (``test_mode`` off) is a clip of a scene of ``num_frames`` frames that is made from
    ``request.seed``; it begins where an object is visible, which may be away later. Photographs and seeds are
    disjoint between splits, as in ``SyntheticVOSDataset``.

    Args:
        split: 'train', 'dev' or 'test'.
        lengths: Frames of each video in ``test_mode``; by default ``LENGTHS``.
        num_frames: T of the scenes that training clips come from.
        scenarios: Some of ``RECIPES``; videos and seeds take them in turn.
        size: (H, W) in pixels.
        max_objects: 1 or 2.
        max_skip: The largest step between frames of a training clip; a request may set another.
        seed, version, test_mode: See ``SyntheticVOSDataset``.
        **kwargs: Likewise.

    Raises:
        ValueError: An argument is out of range; the message names it.
    """

    def __init__(
        self,
        split: str = 'train',
        lengths: Sequence[int] | None = None,
        num_frames: int = 300,
        scenarios: Sequence[str] = tuple(RECIPES),
        size: tuple[int, int] = (128, 128),
        max_objects: int = 2,
        max_skip: int = 20,
        seed: int = 0,
        version: int = 1,
        test_mode: bool | None = None,
        **kwargs: Any,
    ):
        if not scenarios or set(scenarios) - set(RECIPES):
            raise ValueError(
                f'LongSyntheticVOSDataset.scenarios must be some of {", ".join(RECIPES)}, got {scenarios}'
            )
        if not 1 <= max_objects <= 2:
            raise ValueError(f'LongSyntheticVOSDataset.max_objects must be 1 or 2, got {max_objects}')
        default = LENGTHS.get(split, (num_frames,) * NUM_VIDEOS['train'])
        self.lengths = tuple(default if lengths is None else lengths)
        if not self.lengths or min(self.lengths) < 1:
            raise ValueError(
                f'LongSyntheticVOSDataset.lengths must be one or more numbers from 1 on, got {lengths}'
            )
        self.scenarios = tuple(scenarios)
        super().__init__(
            split,
            num_videos=len(self.lengths),
            num_frames=num_frames,
            size=size,
            max_objects=max_objects,
            seed=seed,
            version=version,
            test_mode=test_mode,
            max_skip=max_skip,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """The fixed videos of ``test_mode``."""
        return [dict(video=self._fixed_video(index, length)) for index, length in enumerate(self.lengths)]

    def _fixed_video(self, index: int, length: int):
        scenario = self.scenarios[index % len(self.scenarios)]
        seed = scene_seed(self.split, self.version, self.seed, index)
        spec = LongSceneSpec(self.split, seed, self.size, self.max_objects, scenario, length)
        return LongSyntheticVideo(spec, length, f'long_{self.split}_{index:03d}_{scenario}')

    def _video(self, seed: int, name: str) -> LongSyntheticVideo:
        scenario = self.scenarios[seed % len(self.scenarios)]
        spec = LongSceneSpec(self.split, seed, self.size, self.max_objects, scenario, self.num_frames)
        return LongSyntheticVideo(spec, self.num_frames, f'{name}_{scenario}')
