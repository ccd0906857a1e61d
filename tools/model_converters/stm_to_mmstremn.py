"""Convert the public weights of STM (seoungwugoh/STM): ``python tools/model_converters/stm_to_mmstremn.py SRC
DST``."""

from mmstremn.checkpoints.public_models import run

if __name__ == '__main__':
    run('stm')
