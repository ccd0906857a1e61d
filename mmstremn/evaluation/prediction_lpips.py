"""LPIPS: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR
2018."""

import numpy as np
import torch


class LPIPSDistance:
    """The distance of pairs of frames by the package ``lpips`` with AlexNet, on the CPU.

    Raises:
        ImportError: The package is missing; the message names the extra that installs it.
        RuntimeError: The weights of AlexNet cannot be loaded: torchvision downloads them when they are used
            first.
    """

    def __init__(self):
        try:
            import lpips
        except ImportError as error:
            raise ImportError("LPIPS needs the package lpips: pip install 'mmstremn[prediction]'") from error
        try:
            self.network = lpips.LPIPS(net='alex', verbose=False).eval()
        except OSError as error:
            raise RuntimeError(
                f"LPIPS needs torchvision's weights of AlexNet in {torch.hub.get_dir()}/checkpoints, which "
                'cannot be '
                f'downloaded ({error})'
            ) from error

    @torch.no_grad()
    def __call__(self, pred: np.ndarray, true: np.ndarray) -> np.ndarray:
        """(T,) distances of frames (T, C, H, W) float32; grey ones are given to the network as three equal
        channels."""
        pair = [torch.from_numpy(frames).expand(-1, 3, -1, -1) for frames in (pred, true)]
        return self.network(*pair).flatten().numpy()
