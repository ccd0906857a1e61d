"""Convert the public weights of STCN (hkchengrex/STCN): ``python tools/model_converters/stcn_to_mmstremn.py
SRC DST``."""

from mmstremn.checkpoints.public_models import run

if __name__ == '__main__':
    run('stcn')
