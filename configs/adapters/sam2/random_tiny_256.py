# SAM 2.1 (tiny) with its own widths and depths, at 256 pixels and with random weights: for benchmarks.
_base_ = './_base_/davis_test.py'
model = dict(
    type='Sam2Segmentor',
    tracker=dict(
        model_type='sam2_video',
        image_size=256,
        vision_config=dict(
            backbone_config=dict(model_type='sam2_hiera_det_model', image_size=[256, 256]),
            backbone_feature_sizes=[[64, 64], [32, 32], [16, 16]],
        ),
        prompt_encoder_config=dict(image_size=256),
        memory_attention_rope_feat_sizes=[16, 16],
    ),
)
