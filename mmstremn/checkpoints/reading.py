"""Reading of checkpoint files: one way for every file, which runs no code that the file brings.

A file of ``torch.save`` is a pickle, and a pickle can call any function. So files are read with
``weights_only=True`` and a list of what mmengine's own checkpoints hold beside tensors and plain values;
mmengine itself goes on with ``weights_only=False`` where that fails. Importing this module puts our loaders
in the place of mmengine's: its ``Runner``, ``load_checkpoint`` and ``init_cfg=dict(type='Pretrained')``
use them too.
"""

import json
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.dist import barrier, get_rank
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader, checkpoint as mmengine_loaders
from safetensors import SafetensorError, safe_open

from mmstremn.utils.shipped_files import find_weights

SAFETENSORS = '.safetensors'
TRUST = 'MMSTREMN_TRUST_CHECKPOINTS'
"""The environment variable that lets files run their code, where it is 1."""
GLOBAL = re.compile(r'GLOBAL ([\w.]+)')  # in what torch says of code that it refuses
HASH = re.compile(r'-([0-9a-f]{8,})\.\w+$')  # of the content, in the names of published files


def read_checkpoint(source: str | Path, map_location='cpu'):
    """What a checkpoint holds.

    Args:
        source: A ``.pth`` or ``.safetensors`` file, a URL, or a name such as ``torchvision://resnet50``.
        map_location: The device of the tensors.

    Returns:
        For a safetensors file ``dict(state_dict=..., meta=...)``.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is damaged or something else, or it needs code that is not trusted.
    """
    return CheckpointLoader.load_checkpoint(str(source), map_location, logger='silent')


def check_checkpoint_file(path: str) -> None:
    """Say at once that a local checkpoint is missing or damaged; URLs and the folders that some strategies of
    training write are left to who reads them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no checkpoint, or only a part of one.
    """
    path = find_weights(path)
    if '://' in path or os.path.isdir(path):
        return
    if not os.path.isfile(path):
        raise FileNotFoundError(f'checkpoint {path}: no such file')
    if path.endswith(SAFETENSORS):
        with opened_safetensors(path):
            return
    with open(path, 'rb') as file:
        is_old_format = file.read(1) == b'\x80'
    if not (is_old_format or zipfile.is_zipfile(path)):
        raise ValueError(_damaged(path))


@contextmanager
def opened_safetensors(filename: str, device: str = 'cpu') -> Iterator[safe_open]:
    """The open file; its header is checked against its length, no tensor is read.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is damaged or something else.
    """
    if not os.path.isfile(filename):
        raise FileNotFoundError(f'checkpoint {filename}: no such file')
    try:
        with safe_open(filename, 'pt', device=device) as file:
            yield file
    except SafetensorError as error:
        raise ValueError(
            f'checkpoint {filename}: expected a safetensors file; it is damaged ({error})'
        ) from error


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_file(filename: str, map_location=None) -> dict:
    """Read a local file (:func:`read_checkpoint`)."""
    filename = find_weights(os.path.expanduser(filename))
    check_checkpoint_file(filename)
    if filename.endswith(SAFETENSORS):
        return _read_safetensors(filename, map_location)
    try:
        with torch.serialization.safe_globals(SAFE_GLOBALS):
            return torch.load(filename, map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        return _read_trusted(filename, map_location, error)
    except Exception as error:  # whatever reading a damaged file meets
        raise ValueError(f'{_damaged(filename)} ({error})') from error


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_url(url: str, map_location=None) -> dict:
    """Download a file once, into the folder of ``torch.hub``, and read it.

    Raises:
        RuntimeError: Its content has not the hash that its name ends in.
    """
    if get_rank() == 0:
        _downloaded(url)
    barrier()
    return load_from_file(_downloaded(url), map_location)


def _downloaded(url: str) -> str:
    name = Path(urlparse(url).path).name
    target, digest = Path(torch.hub.get_dir(), 'checkpoints', name), HASH.search(name)
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(target), digest and digest[1])
    return str(target)


def _read_safetensors(filename: str, map_location) -> dict:
    device = map_location if isinstance(map_location, (str, torch.device)) else 'cpu'
    with opened_safetensors(filename, str(device)) as file:
        meta = json.loads((file.metadata() or {}).get('meta', '{}'))
        return dict(meta=meta, state_dict={name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118


def _read_trusted(filename: str, map_location, refusal: Exception):
    """Let the file run its code, where the user says so.

    Raises:
        ValueError: He does not, the code that it names is not installed, or the file is damaged.
    """
    names = _named_code(filename) or ', '.join(GLOBAL.findall(str(refusal))) or 'a plain pickle'
    if os.environ.get(TRUST) != '1':
        raise ValueError(
            f'checkpoint {filename}: refused, it cannot be read without running code that it names '
            f'({names}). '
            f'Expected weights and plain values. If you trust whoever made the file, set {TRUST}=1 for this '
            'command, or once to convert it: tools/model_converters/publish_model.py SRC DST.safetensors'
        )
    warnings.warn(f'checkpoint {filename}: {TRUST}=1, so it may run code ({names})', stacklevel=2)
    try:
        return torch.load(filename, map_location, weights_only=False)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f'checkpoint {filename}: expected the code that it names to be installed ({names}), but {error}. '
            'Install what made the file, or save weights alone there: torch.save(model.state_dict(), FILE)'
        ) from error
    except Exception as error:  # whatever reading a damaged file meets
        raise ValueError(f'{_damaged(filename)} ({error})') from error


def _damaged(path: str) -> str:
    return f'checkpoint {path}: expected a file written by torch.save; it is damaged or something else'


def _named_code(filename: str) -> str:
    """The functions and classes in a file that are not in the list; '' for the format before PyTorch 1.6."""
    if not zipfile.is_zipfile(filename):
        return ''
    try:
        with torch.serialization.safe_globals(SAFE_GLOBALS):
            return ', '.join(torch.serialization.get_unsafe_globals_in_checkpoint(filename))
    except Exception:  # whatever reading a damaged file meets
        return 'which cannot be listed: the file is damaged or something else'


def _safe_attribute(owner: type, name: str):
    """What pickles write for the methods that mmengine's checkpoints name; any other attribute is refused.

    Raises:
        UnpicklingError: Another attribute.
    """
    if (owner, name) not in PICKLED_METHODS:
        raise pickle.UnpicklingError(f'Trying to get the attribute {name!r} of {owner!r}')
    return getattr(owner, name)


PICKLED_METHODS = {
    *((HistoryBuffer, name) for name in ('min', 'max', 'mean', 'current')),
    *((OneCycleParamScheduler, name) for name in ('_annealing_cos', '_annealing_linear')),
}


def _safe_globals() -> list:
    """What mmengine's checkpoints name: log histories, and numpy's numbers and arrays."""
    new_array, new_scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
    numbers = np.typecodes['AllInteger'] + np.typecodes['AllFloat'] + '?'
    return [
        HistoryBuffer,
        OneCycleParamScheduler,
        (_safe_attribute, 'builtins.getattr'),
        slice,
        np.ndarray,
        np.dtype,
        *{type(np.dtype(code)) for code in numbers},
        *(  # by their names before and since numpy 2
            (function, f'numpy.{core}.multiarray.{name}')
            for core in ('core', '_core')
            for function, name in ((new_array, '_reconstruct'), (new_scalar, 'scalar'))
        ),
    ]


SAFE_GLOBALS = _safe_globals()


def _without_code(loader: Callable) -> Callable:
    """A loader of mmengine whose files cannot run code."""

    @wraps(loader)
    def load(filename: str, map_location=None):
        before = os.environ.get('TORCH_FORCE_WEIGHTS_ONLY_LOAD')
        os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
        try:
            with torch.serialization.safe_globals(SAFE_GLOBALS):
                return loader(filename, map_location=map_location)
        finally:
            os.environ.pop('TORCH_FORCE_WEIGHTS_ONLY_LOAD')
            if before is not None:
                os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = before

    return load


for _prefixes, _loader in (
    (('modelzoo://', 'torchvision://'), mmengine_loaders.load_from_torchvision),
    (('open-mmlab://', 'openmmlab://'), mmengine_loaders.load_from_openmmlab),
    (('mmcls://',), mmengine_loaders.load_from_mmcls),
    (('pavi://',), mmengine_loaders.load_from_pavi),
    ((r'(\S+\:)?s3://', r'(\S+\:)?petrel://'), mmengine_loaders.load_from_ceph),
):
    CheckpointLoader.register_scheme(_prefixes, _without_code(_loader), force=True)
