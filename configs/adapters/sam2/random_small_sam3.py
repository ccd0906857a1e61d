# A small tracker of SAM 3 with random weights: for tests and benchmarks, not for masks.
_base_ = './random_small.py'
side = 64
model = dict(
    tracker=dict(
        model_type='sam3_tracker_video',
        vision_config=dict(
            _delete_=True,
            model_type='sam3_vision_model',
            backbone_config=dict(
                model_type='sam3_vit_model',
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=side,
                patch_size=16,
                pretrain_image_size=side,
                window_size=2,
                global_attn_indexes=[1],
            ),
            fpn_hidden_size=128,
        ),
    ),
)
