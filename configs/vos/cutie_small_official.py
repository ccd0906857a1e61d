# Cutie-small: Cutie-base with ResNet-18 as the key encoder.
_base_ = './cutie_base_official.py'
model = dict(backbone=dict(model_name='resnet18'))
