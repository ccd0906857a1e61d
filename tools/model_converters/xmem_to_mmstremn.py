"""Convert the public weights of XMem (hkchengrex/XMem): ``python tools/model_converters/xmem_to_mmstremn.py
SRC DST``."""

from mmstremn.checkpoints.public_models import run

if __name__ == '__main__':
    run('xmem')
