"""The registries of mmstremn (children of mmengine's) and the builder of nested components."""

import difflib
import importlib
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


class NamingRegistry(Registry):
    """mmengine's registry; where nothing has a name it says which names there are and which is spelt most
    like it.

    So do ``build`` of this registry and of its ancestors while ``default_scope`` is ours, as in mmengine's
    ``Runner``.
    """

    def get(self, key: str):
        """The class registered as ``key``, looked up here first, then in the ancestors, or in the scope
        before its dot.

        Raises:
            KeyError: Nothing has that name (mmengine returns None, or raises a RuntimeError that says no
                more).
        """
        for registry in _lineage(self):  # mmengine imports nothing for the ancestors
            registry.import_from_location()
        try:
            found = super().get(key)
        except RuntimeError:  # an import that fails is none: mmengine catches those itself
            found = None
        if found is None or inspect.ismodule(found):  # mmengine imports whatever module has the name
            raise KeyError(_unknown(key, self))
        return found


def _lineage(registry: Registry | None) -> list[Registry]:
    """A registry and its ancestors."""
    return [] if registry is None else [registry, *_lineage(registry.parent)]


def _unknown(key: str, registry: Registry) -> str:
    """What to say where nothing is registered as ``key``."""
    scope, name = registry.split_scope_key(key)
    lineage = _lineage(registry)
    if scope not in (None, registry.scope):
        try:
            importlib.import_module(f'{scope}.registry')
        except Exception as error:  # also what a package says of the versions it wants
            hint = f'python -m {SCOPE} says what is installed and what to install'
            return f"'{key}' was not found: {error}. {hint}"
        lineage = [child] if (child := lineage[-1]._search_child(scope)) else []
    names = {name: entry.scope for entry in reversed(lineage) for name in entry.module_dict}
    close = difflib.get_close_matches(name, names)
    hint = f' Did you mean {", ".join(close)}?' if close else ''
    groups = [
        f'{entry.scope}: {", ".join(sorted(entry.module_dict))}' for entry in lineage if entry.module_dict
    ]
    where = lineage[0].scope if lineage else scope
    registered = '; '.join(groups) or 'nothing'
    return f"'{key}' is not registered as a {registry.name} of {where}.{hint} Registered: {registered}"


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return NamingRegistry(name, parent=parent, scope=SCOPE, locations=[*locations])


# Where there is a model there are checkpoints to read: with our loaders, which run no code of a file.
MODELS = _child('model', MMENGINE_MODELS, 'mmstremn.models', 'mmstremn.checkpoints.reading')
DATASETS = _child('dataset', MMENGINE_DATASETS, 'mmstremn.datasets')
TRANSFORMS = _child('transform', MMENGINE_TRANSFORMS, 'mmstremn.datasets')
DATA_SAMPLERS = _child('data sampler', MMENGINE_DATA_SAMPLERS, 'mmstremn.datasets')
METRICS = _child('metric', MMENGINE_METRICS, 'mmstremn.evaluation')
HOOKS = _child('hook', MMENGINE_HOOKS, 'mmstremn.engine')
LOOPS = _child('loop', MMENGINE_LOOPS, 'mmstremn.engine')
OPTIM_WRAPPERS = _child('optim_wrapper', MMENGINE_OPTIM_WRAPPERS, 'mmstremn.engine')
# Nothing of our own in these: without them mmengine warns that our scope has none.
OPTIMIZERS = _child('optimizer', MMENGINE_OPTIMIZERS, 'mmstremn.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS, 'mmstremn.engine'
)
VISUALIZERS = _child('visualizer', MMENGINE_VISUALIZERS, 'mmstremn.engine')
VISBACKENDS = _child('vis_backend', MMENGINE_VISBACKENDS, 'mmstremn.engine')
PARAM_SCHEDULERS = _child('parameter scheduler', MMENGINE_PARAM_SCHEDULERS, 'mmstremn.engine')
REGISTRIES = (MODELS, DATASETS, TRANSFORMS, DATA_SAMPLERS, METRICS, HOOKS, LOOPS, OPTIMIZERS, OPTIM_WRAPPERS)
REGISTRIES += (OPTIM_WRAPPER_CONSTRUCTORS, VISUALIZERS, VISBACKENDS, PARAM_SCHEDULERS)


def build(cfg, registry: Registry = MODELS, **context):
    """Build a component and the components nested in its config, under our own scope.

    For parts such as memories and backbones. A ``VOSegmentor`` or a data set builds its own parts:
    ``MODELS.build``, ``DATASETS.build``.

    Args:
        cfg: A dict with a ``type``, or an object that is already built (returned as it is).
        registry: Where the types are looked up.
        **context: Values offered to every component built here, nested ones too. A component gets those that
            its constructor names and that its config leaves out, so ``dict(type='SlotMemory')`` needs no
            widths.

    Raises:
        KeyError: The type is not registered; the message names the types that are.
    """
    if not (isinstance(cfg, dict) and 'type' in cfg):
        return cfg
    scope = registry.split_scope_key(cfg['type'])[0] if isinstance(cfg['type'], str) else None
    if scope not in (None, SCOPE):
        return registry.build(dict(cfg, _scope_=scope))  # of another library, which builds the parts itself
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
    return registry.get(name)
