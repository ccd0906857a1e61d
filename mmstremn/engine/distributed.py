"""Several processes without a GPU, which mmengine's ``init_dist`` does not know."""

import os
import subprocess

import torch
from mmengine.config import Config

# What torch wants to know, as the launchers other than torchrun call it.
VARIABLES = {
    'slurm': dict(RANK='SLURM_PROCID', WORLD_SIZE='SLURM_NTASKS', LOCAL_RANK='SLURM_LOCALID'),
    'mpi': dict(
        RANK='OMPI_COMM_WORLD_RANK',
        WORLD_SIZE='OMPI_COMM_WORLD_SIZE',
        LOCAL_RANK='OMPI_COMM_WORLD_LOCAL_RANK',
    ),
}


def init_cpu_processes(cfg: Config, launcher: str) -> None:
    """Join the process group with gloo and let DDP work without devices; does nothing where there is a GPU.

    ``init_dist`` sets a CUDA device in any case; it is not called where a process group exists already.

    Args:
        cfg: Gets a ``model_wrapper_cfg`` without devices (or a ``model_wrapper`` of its ``strategy``),
            keeping what the config says.
        launcher: ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
    """
    if torch.cuda.is_available():
        return
    for name, source in VARIABLES.get(launcher, {}).items():
        os.environ.setdefault(name, _variable(source, launcher))
    os.environ.setdefault('LOCAL_RANK', '0')
    os.environ.setdefault('MASTER_ADDR', _first_slurm_host() if launcher == 'slurm' else '127.0.0.1')
    os.environ.setdefault('MASTER_PORT', '29500')
    for name in ('RANK', 'WORLD_SIZE'):
        _variable(name, launcher)
    torch.distributed.init_process_group('gloo')
    if strategy := cfg.get('strategy'):
        device = dict(device_id='cpu') if strategy.type.endswith('FSDPStrategy') else dict(device_ids=None)
        strategy.model_wrapper = dict(strategy.get('model_wrapper') or {}, **device)
        return
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)


def _variable(name: str, launcher: str) -> str:
    if name not in os.environ:
        raise RuntimeError(
            f'--launcher {launcher}: expected the environment variable {name}; start the tool with '
            'tools/dist_train.sh, torchrun, srun or mpirun'
        )
    return os.environ[name]


def _first_slurm_host() -> str:
    command = ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]
