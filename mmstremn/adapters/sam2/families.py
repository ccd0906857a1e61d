"""The families of trackers of Hugging Face transformers, how they differ, and how one is loaded."""

import importlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from mmstremn.mm_packages import INSTALL

OLDEST, FIX = '5.23', INSTALL['transformers']
HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Family:
    """What the modules of a family do differently.

    Attributes:
        model: Its class in transformers.
        mean: Of RGB in 0..1 that frames are normalised with.
        std: Likewise.
        stored: Type of stored memory features; None: that of the model.
        prompt_binarizes_all: Where one object is prompted the masks of all objects of the frame are stored
            binary; False: those of the prompted ones.
    """

    model: str
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    stored: torch.dtype | None = torch.bfloat16
    prompt_binarizes_all: bool = True


SAM3 = Family('Sam3TrackerVideoModel', HALF, HALF)
FAMILIES = {
    'sam2_video': Family('Sam2VideoModel'),
    'edgetam_video': Family('EdgeTamVideoModel', stored=None, prompt_binarizes_all=False),
    'sam3_tracker_video': SAM3,
    'sam3_video': SAM3,
}
"""By ``model_type`` of the config; ``sam3_video`` is SAM 3's checkpoint, of which the tracker is a part."""


def transformers() -> Any:
    """The module.

    Raises:
        ModuleNotFoundError: It is not installed.
        ImportError: It is too old.
    """
    try:
        module = importlib.import_module('transformers')
        found = version('transformers')
    except (ModuleNotFoundError, PackageNotFoundError) as error:
        message = f'Sam2Segmentor needs transformers >= {OLDEST}, which is not installed. Fix: {FIX}'
        raise ModuleNotFoundError(message, name='transformers') from error
    if _numbers(found) < _numbers(OLDEST):
        raise ImportError(
            f'Sam2Segmentor needs transformers >= {OLDEST}, found {found}. Fix: pip install -U '
            f"'transformers>={OLDEST}'"
        )
    return module


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in text.split('.')[:2])


def family_of(model_type: str | None, name: str) -> Family:
    """The family of a config's ``model_type``.

    Raises:
        ValueError: It is another.
    """
    if model_type not in FAMILIES:
        raise ValueError(f"'{name}' is a model of type {model_type!r}, expected one of {', '.join(FAMILIES)}")
    return FAMILIES[model_type]


def _check_place(checkpoint: str) -> None:
    """Raises a FileNotFoundError where a checkpoint is no folder and can be no name on the hub, which has two
    parts."""
    path, is_place = Path(checkpoint), checkpoint.startswith(('.', '~')) or checkpoint.count('/') != 1
    if not path.is_dir() and (is_place or path.parent.is_dir()):
        raise FileNotFoundError(
            f"checkpoint '{checkpoint}': there is no such folder; expected a folder with config.json and "
            'model.safetensors, or a name on the Hugging Face hub such as facebook/sam2.1-hiera-tiny'
        )


def load_tracker(checkpoint: str) -> tuple[torch.nn.Module, Family]:
    """A published tracker.

    Args:
        checkpoint: A name on the hub, or a folder with ``config.json`` and weights as safetensors.

    Raises:
        FileNotFoundError: There is no such folder and no such name, or it has no weights.
        ValueError: It is a model of another family, its config or its weights cannot be read, or weights are
            missing, have other shapes or are not finite.
    """
    _check_place(checkpoint)
    library = transformers()
    try:
        config, _ = library.PretrainedConfig.get_config_dict(checkpoint)
        if not config:
            raise FileNotFoundError('there is no config.json')
        family = family_of(config.get('model_type'), checkpoint)
        model, found = getattr(library, family.model).from_pretrained(
            checkpoint,
            output_loading_info=True,
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # they are in ``found``
        )
    except SafetensorError as error:
        raise ValueError(f"checkpoint '{checkpoint}': its weights cannot be read ({error})") from error
    except OSError as error:
        raise FileNotFoundError(
            f"checkpoint '{checkpoint}': expected a name on the Hugging Face hub that can be reached, or a "
            f'folder with config.json and model.safetensors ({error})'
        ) from error
    lacking = {
        f'lacks {{}} weights of {family.model}': sorted(found['missing_keys']),
        f'has {{}} weights of other shapes than {family.model}': sorted(
            k for k, *_ in found['mismatched_keys']
        ),
        'has {} weights that are not finite': [
            key for key, value in model.state_dict().items() if not value.isfinite().all()
        ],
    }
    for what, keys in lacking.items():
        if keys:
            raise ValueError(f"checkpoint '{checkpoint}' {what.format(len(keys))}, such as {keys[0]}")
    return model, family


def random_tracker(config: dict) -> tuple[torch.nn.Module, Family]:
    """A tracker with random weights.

    Args:
        config: ``model_type`` and the arguments of its config class.

    Raises:
        ValueError: It is a model of another family.
    """
    config = dict(config)
    model_type = config.pop('model_type', None)
    family = family_of(model_type, 'tracker')
    library = transformers()
    return getattr(library, family.model)(library.AutoConfig.for_model(model_type, **config)), family
