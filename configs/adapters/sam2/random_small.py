# A small SAM 2 with random weights: for tests and benchmarks, not for masks.
_base_ = './_base_/davis_test.py'
side = 64
model = dict(
    type='Sam2Segmentor',
    tracker=dict(
        model_type='sam2_video',
        image_size=side,
        vision_config=dict(
            backbone_config=dict(
                model_type='sam2_hiera_det_model',
                hidden_size=8,
                num_attention_heads=1,
                blocks_per_stage=[1, 1, 2, 1],
                embed_dim_per_stage=[8, 16, 32, 64],
                num_attention_heads_per_stage=[1, 2, 4, 8],
                window_size_per_stage=[8, 4, 4, 2],
                window_positional_embedding_background_size=[2, 2],
                global_attention_blocks=[3],
                image_size=[side, side],
            ),
            backbone_channel_list=[64, 32, 16, 8],
            backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
            fpn_hidden_size=128,
        ),
        prompt_encoder_config=dict(hidden_size=128, image_size=side, patch_size=16),
        mask_decoder_config=dict(hidden_size=128, mlp_dim=64, num_attention_heads=4, iou_head_hidden_dim=32),
        memory_attention_hidden_size=128,
        memory_attention_num_layers=2,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_attention_feed_forward_hidden_size=64,
        memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64,  # transformers has 64 written into its attention
        mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=64,
    ),
)
