"""The public code of Cutie (a clone of hkchengrex/Cutie) without the packages that read its configs."""

import importlib
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path

import yaml
from mmengine.config import ConfigDict


def public_cutie(folder: Path, name: str):
    """The public network of ``cutie_base`` or ``cutie_small``, with random weights, and its evaluation
    options: long-term memory, every 5th frame stored."""
    sys.path.insert(0, str(folder))
    omegaconf = types.ModuleType('omegaconf')  # of which the public code takes a type for its hints alone
    omegaconf.DictConfig = ConfigDict
    sys.modules.setdefault('omegaconf', omegaconf)
    resnet = importlib.import_module('cutie.model.utils.resnet')
    for builder in ('resnet18', 'resnet50'):
        setattr(resnet, builder, _without_download(getattr(resnet, builder)))
    options = _read_yaml(folder / 'cutie/config/eval_config.yaml')
    model = _read_yaml(folder / 'cutie/config/model/base.yaml')
    if name == 'cutie_small':
        model.update(pixel_encoder=_read_yaml(folder / 'cutie/config/model/small.yaml')['pixel_encoder'])
    options = ConfigDict(options | dict(model=model, use_long_term=True, mem_every=5))
    return importlib.import_module('cutie.model.cutie').CUTIE(options).eval(), options


def _without_download(builder: Callable) -> Callable:
    return lambda pretrained, **kwargs: builder(pretrained=False, **{**kwargs, 'model_dir': None})


def _read_yaml(path: Path) -> dict:
    text = re.sub(r'\$\{model\.[a-z_.]*embed_dim\}', '256', path.read_text('utf-8'))
    return yaml.safe_load(re.sub(r'\$\{model\.[a-z_.]*num_queries\}', '16', text))
