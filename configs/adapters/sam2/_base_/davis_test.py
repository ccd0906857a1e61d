# Tests on DAVIS 2017 (or data in its layout): environment variable MMSTREMN_DAVIS.
# Trackers are not trained here.
_base_ = ['../../../_base_/davis.py', '../../../_base_/default_runtime.py']
custom_imports = dict(imports=['mmstremn.adapters.sam2'])
train_dataloader = None
val_dataloader = None
val_evaluator = None
test_cfg = dict(type='TestLoop')
