"""Convert the public weights of Cutie (hkchengrex/Cutie), base or small: ``python
tools/model_converters/cutie_to_mmstremn.py SRC DST``."""

from mmstremn.checkpoints.public_models import run

if __name__ == '__main__':
    run('cutie')
