# A small EdgeTAM with random weights: for tests and benchmarks, not for masks.
_base_ = './random_small.py'
model = dict(
    tracker=dict(
        model_type='edgetam_video',
        memory_attention_mlp_hidden_size=64,
        memory_attention_rope_k_sizes=[2, 2],
        perceiver_resampler_num_latents=4,
        perceiver_resampler_num_latents_2d=4,
        perceiver_resampler_hidden_size=64,
        perceiver_resampler_attention_head_dim=64,
        perceiver_resampler_mlp_intermediate_size=64,
        perceiver_resampler_num_layers=1,
    ),
)
