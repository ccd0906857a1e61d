"""The registries of mmstremn (children of mmengine's) and the builder of nested components."""

import importlib
import inspect
import numbers
import types
import typing
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import takewhile

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
from torch import nn

from mmstremn.similar import did_you_mean

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

    def build(self, cfg, *args, **kwargs):
        """mmengine's, where the values in ``cfg`` have the types that the class's hints name.

        Raises:
            KeyError: The type is not registered.
            TypeError: A value has another type; the message names its key.
        """
        if isinstance(cfg, dict) and isinstance(cfg.get('type'), str):
            with self.switch_scope_and_registry(cfg.get('_scope_')) as registry, suppress(KeyError):
                check_arguments(registry.get(cfg['type']), cfg)  # what is not there mmengine says itself
        return super().build(cfg, *args, **kwargs)


def check_arguments(cls, arguments: Mapping) -> None:
    """Compare the names and values of a config with the arguments of a class of ours, and the names with
    those of a class that is based on ours.

    Plain values are compared with plain hints, and where a part is expected there must be one: a dict that
    says how to build it is none.

    Raises:
        TypeError: There is no argument of that name, or a value has another type than its hint; the message
            names the key.
        ValueError: A number of channels is none.
    """
    takes = arguments_of(cls)
    if takes is not None:
        check_names(cls.__name__, [name for name in arguments if name not in ('type', '_scope_')], takes)
    if not _is_ours(cls):
        return
    for name, hint in typing.get_type_hints(cls.__init__).items():
        if name not in arguments:
            continue
        value = arguments[name]
        if not _is_of(value, hint):
            told = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else hint
            parts = value if isinstance(value, (list, tuple)) else [value]
            unbuilt = _names_component(hint) and any(map(_is_configured, parts))
            how = f' ({SCOPE}.registry.build builds parts too)' if unbuilt else ''
            raise TypeError(f'{cls.__name__}.{name}: expected {told}, got {value!r}{how}')
        if name.endswith('channels') and isinstance(value, int) and value < 0:
            raise ValueError(f'{cls.__name__}.{name}: expected a number of channels, got {value}')


def check_names(owner: str, names: Iterable[str], takes: Iterable[str]) -> None:
    """Raise a TypeError that names the most similar argument where there is none of a name.

    Args:
        owner: Name of the class that the arguments are given to.
        names: Of the arguments given.
        takes: Of those it takes.
    """
    takes = [*takes]
    for name in names:
        if name not in takes:
            raise TypeError(
                f'{owner}.{name}: there is no such argument.{did_you_mean(name, takes, 0.5)} '
                f'{owner} takes {", ".join(takes) or "none"}'
            )


def _is_ours(cls) -> bool:
    return inspect.isclass(cls) and cls.__module__.startswith(f'{SCOPE}.')


def arguments_of(cls) -> list[str] | None:
    """The names of all arguments of a class that is ours or based on ours; None where it takes any, and for
    what is no such class.

    The ``**kwargs`` of a class of ours are its base's; what others do with theirs is not known. ``nn.Module``
    takes none, whatever its signature says.
    """
    if not (inspect.isclass(cls) and any(map(_is_ours, cls.__mro__))):
        return None
    names: list[str] = []
    passes_on = False
    bases = takewhile(lambda base: base not in (nn.Module, object), cls.__mro__)
    for base in (base for base in bases if '__init__' in vars(base)):
        parameters = [*inspect.signature(vars(base)['__init__']).parameters.values()][1:]
        names += [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
        rest = [parameter.name for parameter in parameters if parameter.kind is parameter.VAR_KEYWORD]
        passes_on = rest == ['kwargs'] and _is_ours(base)
        if not passes_on:
            return None if rest else list(dict.fromkeys(names))
    return None if passes_on else names


def _is_of(value, hint) -> bool:
    """Whether a value of a config has the type that a hint names; hints of no plain type are not looked
    at."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_is_of(value, one) for one in args)
    if origin is typing.Literal:
        return value in args
    if hint in PLAIN:
        return PLAIN[hint](value)
    if origin in (tuple, list) or (inspect.isclass(origin) and issubclass(origin, Iterable)):
        return _are_of(value, origin, args)
    return not (_is_component(origin or hint) and isinstance(value, (*PLAIN, list, tuple)))


def _is_component(hint) -> bool:
    """Whether a hint is a class of ours or a module, of which no plain value is an instance."""
    return inspect.isclass(hint) and hint.__module__.split('.')[0] in (SCOPE, 'torch')


def _names_component(hint) -> bool:
    """Whether such a class is the hint, or one of what it holds."""
    return _is_component(typing.get_origin(hint) or hint) or any(map(_names_component, typing.get_args(hint)))


def _are_of(values, origin, args) -> bool:
    """Whether the items of a list or a tuple have the types of ``args``; either may stand for the other."""
    if issubclass(origin, Mapping):
        return isinstance(values, Mapping)
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        return False
    if not isinstance(values, (list, tuple)) or not args:
        return True
    if origin is tuple and args[-1] is not ...:
        return len(values) == len(args) and all(map(_is_of, values, args))
    return all(_is_of(value, args[0]) for value in values)


def _is_configured(value) -> bool:
    return isinstance(value, dict) and 'type' in value


def _is_number(value) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and value == value


PLAIN = {
    int: lambda value: isinstance(value, numbers.Integral) and not isinstance(value, bool),
    float: _is_number,
    bool: lambda value: isinstance(value, bool),
    str: lambda value: isinstance(value, str),
    dict: lambda value: isinstance(value, Mapping) or hasattr(value, 'forward'),  # a config, or what it made
    type(None): lambda value: value is None,
}


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
    hint = did_you_mean(name, names, most=3)
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
        KeyError: There is no type, or it is not registered; the message names the types that are.
        TypeError: An argument is unknown, or its value has another type than its hint.
    """
    if not isinstance(cfg, dict):
        return cfg
    if not (isinstance(cfg.get('type'), str) or callable(cfg.get('type'))):
        raise KeyError(f"expected a component, a dict with a 'type', got {cfg!r}")
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
    check_arguments(cls, cfg)
    return cls(**cfg)


def _build_nested(value, registry, context):
    if isinstance(value, (list, tuple)):
        return type(value)(_build_nested(item, registry, context) for item in value)
    return build(value, registry, **context) if _is_configured(value) else value


def find(name: str, registry: Registry = MODELS):
    """The class registered as ``name``, looked up in our scope first.

    Raises:
        KeyError: Nothing has that name; the message names what does.
    """
    return registry.get(name)
