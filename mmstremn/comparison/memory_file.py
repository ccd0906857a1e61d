"""The memory file of a comparison: which memories are compared, by name."""

import re

from mmengine.config import Config

from mmstremn.utils.shipped_files import find_config


def load_memories(path: str) -> dict[str, dict]:
    """The dict ``memories`` of a text config: the config of ``model.memory`` by name, of several parts of
    the model, or of a whole model that takes its place.

    Args:
        path: A file, or the name of one of ours such as ``configs/_base_/memories.py``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It has no ``memories``, or one that is no config of a memory or cannot name a folder.
    """
    try:
        file = find_config(path)
    except FileNotFoundError:
        raise FileNotFoundError(f'memory file {path}: no such file') from None
    memories = Config.fromfile(file).get('memories')
    if not isinstance(memories, dict) or not memories:
        raise ValueError(f'memory file {path}: expected a dict `memories` of name -> config of model.memory')
    for name, entry in memories.items():
        if not re.fullmatch(r'\w[\w.+-]*', name):
            raise ValueError(f"memory file {path}: '{name}': expected a name of letters, digits and _.+-")
        parts = entry if 'type' in entry else entry.get('memory') or entry.get('model') or {}
        if 'type' not in parts or ('model' in entry and len(entry) > 1):
            raise ValueError(
                f"memory file {path}: '{name}': expected a dict with `type`, or with `memory` that has one, "
                'or with nothing but `model` that has one'
            )
    return {name: entry.to_dict() for name, entry in memories.items()}


def choose_memories(memories: dict[str, dict], names: list[str]) -> dict[str, dict]:
    """The memories of these names, in this order; ``['all']`` gives all.

    Raises:
        KeyError: A name is not there; the message names those that are.
    """
    if names == ['all']:
        return memories
    for name in names:
        if name not in memories:
            raise KeyError(f"--memories: '{name}' is unknown; there are: {', '.join(memories)}")
    return {name: memories[name] for name in names}
