"""The registries of mmstremn (children of mmengine's) and the builder of nested components."""

import difflib
import inspect

from mmengine.registry import (
    DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS,
    DATASETS as MMENGINE_DATASETS,
    HOOKS as MMENGINE_HOOKS,
    LOOPS as MMENGINE_LOOPS,
    METRICS as MMENGINE_METRICS,
    MODELS as MMENGINE_MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS,
    OPTIMIZERS as MMENGINE_OPTIMIZERS,
    PARAM_SCHEDULERS as MMENGINE_PARAM_SCHEDULERS,
    TRANSFORMS as MMENGINE_TRANSFORMS,
    VISBACKENDS as MMENGINE_VISBACKENDS,
    VISUALIZERS as MMENGINE_VISUALIZERS,
    Registry,
)

SCOPE = 'mmstremn'


def _child(name: str, parent: Registry, location: str) -> Registry:
    return Registry(name, parent=parent, scope=SCOPE, locations=[location])


MODELS = _child('model', MMENGINE_MODELS, 'mmstremn.models')
DATASETS = _child('dataset', MMENGINE_DATASETS, 'mmstremn.datasets')
TRANSFORMS = _child('transform', MMENGINE_TRANSFORMS, 'mmstremn.datasets')
DATA_SAMPLERS = _child('data sampler', MMENGINE_DATA_SAMPLERS, 'mmstremn.datasets')
METRICS = _child('metric', MMENGINE_METRICS, 'mmstremn.evaluation')
HOOKS = _child('hook', MMENGINE_HOOKS, 'mmstremn.engine')
LOOPS = _child('loop', MMENGINE_LOOPS, 'mmstremn.engine')
# Nothing of our own in these: without them mmengine warns that our scope has none.
OPTIMIZERS = _child('optimizer', MMENGINE_OPTIMIZERS, 'mmstremn.engine')
OPTIM_WRAPPERS = _child('optim_wrapper', MMENGINE_OPTIM_WRAPPERS, 'mmstremn.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('optimizer wrapper constructor', MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS, 'mmstremn.engine')
VISUALIZERS = _child('visualizer', MMENGINE_VISUALIZERS, 'mmstremn.engine')
VISBACKENDS = _child('vis_backend', MMENGINE_VISBACKENDS, 'mmstremn.engine')
PARAM_SCHEDULERS = _child('parameter scheduler', MMENGINE_PARAM_SCHEDULERS, 'mmstremn.engine')


def build(cfg, registry: Registry = MODELS, **context):
    """Build a component and the components nested in its config, under our own scope.

    For parts such as memories and backbones. A ``VOSegmentor`` or a data set builds its own parts: ``MODELS.build``,
    ``DATASETS.build``.

    Args:
        cfg: A dict with a ``type``, or an object that is already built (returned as it is).
        registry: Where the types are looked up.
        **context: Values offered to every component built here, nested ones too. A component gets those that its
            constructor names and that its config leaves out, so ``dict(type='SlotMemory')`` needs no widths.

    Raises:
        KeyError: The type is not registered; the message names the types that are.
    """
    if not (isinstance(cfg, dict) and 'type' in cfg):
        return cfg
    cfg = {key: _build_nested(value, registry, context) for key, value in cfg.items()}
    cls = cfg['type']
    if isinstance(cls, str):
        cls = find(cls, registry)
    parameters = inspect.signature(cls).parameters
    for key, value in context.items():
        if key in parameters:
            cfg.setdefault(key, value)
    cfg.pop('type')
    cfg.pop('_scope_', None)
    return cls(**cfg)


def _build_nested(value, registry, context):
    if isinstance(value, (list, tuple)):
        return type(value)(_build_nested(item, registry, context) for item in value)
    return build(value, registry, **context)


def find(name: str, registry: Registry = MODELS):
    """The class registered as ``name``, looked up in our scope first.

    Raises:
        KeyError: Nothing has that name; the message names what does.
    """
    ancestor = registry
    while ancestor is not None:  # get() itself imports nothing for the ancestors
        ancestor.import_from_location()
        ancestor = ancestor.parent
    found = registry.get(name)
    if found is None:
        names = sorted(registry.module_dict)
        close = difflib.get_close_matches(name, names)
        hint = f' Did you mean {", ".join(close)}?' if close else ''
        raise KeyError(f"'{name}' is not registered as a {registry.name} of {SCOPE}.{hint} Registered: {', '.join(names)}")
    return found
