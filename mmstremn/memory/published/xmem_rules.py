"""Where :class:`TwoLevelMemory` departs from XMem's public code; the rules of XMem's and Cutie's weights.

They are checked against inference/{memory_manager,kv_memory_store}.py of hkchengrex/XMem and of
hkchengrex/Cutie. Letters in shapes: B batch, N candidates, K prototypes, L positions of long-term memory in
use.
"""

from torch import Tensor, nn

from mmstremn.memory.published.xmem_consolidation import pick


class LibraryRules:
    """This library's choices.

    Attributes:
        encodes_every_frame: Frames that are not stored are encoded too.
        decoder_moves_stored: In evaluation the sensory state follows the decoder on stored frames too, as it
            does in training.
    """

    encodes_every_frame = True
    decoder_moves_stored = True

    def projection(self, sensory_channels: int, value_channels: int) -> nn.Linear | None:
        """Maps the sensory state onto the readout, to be added; None: it follows as further channels."""
        return nn.Linear(sensory_channels, value_channels, bias=False)

    def is_regular(self, step: int, stored: int, every: int) -> bool:
        """Whether evaluation stores the frame ``step``, the last stored one being ``stored``."""
        return step % every == 0

    def shrinkage(self, similarity: Tensor, shrinkage: Tensor, chosen: Tensor) -> Tensor:
        """The prototypes' shrinkage (B, 1, K): that of the position.

        Args:
            similarity: (B, K, N) of the prototypes to the candidates.
            shrinkage: (B, 1, N) of the candidates.
            chosen: (B, K) the candidates that became prototypes.
        """
        return pick(shrinkage, chosen)

    def overflows(self, prototypes: int, number: int) -> bool:
        """Whether prototypes must go where ``number`` may stay."""
        return prototypes > number

    def number_kept(self, rate: Tensor, number: int) -> int:
        """How many prototypes stay where ``number`` may, by their use per frame (B, 1, L)."""
        return number


class PublicRules(LibraryRules):
    """``compat='xmem'``: what the public code does."""

    encodes_every_frame = False
    decoder_moves_stored = False

    def projection(self, sensory_channels: int, value_channels: int) -> None:
        """None: the decoder takes the sensory state as channels of its own."""
        return None

    def is_regular(self, step: int, stored: int, every: int) -> bool:
        """``every`` frames after the last stored one, also if that was prompted."""
        return step - stored >= every

    def shrinkage(self, similarity: Tensor, shrinkage: Tensor, chosen: Tensor) -> Tensor:
        """softmax(similarity) s over all candidates, as the values are made."""
        averaged = similarity.softmax(-1) @ shrinkage.float().transpose(1, 2)  # (B, K, 1)
        return averaged.transpose(1, 2).to(shrinkage.dtype)

    def number_kept(self, rate: Tensor, number: int) -> int:
        """Those that tie with the best one dropped go too; a batch keeps as few as any of its samples."""
        rate = rate[:, 0]
        best_dropped = rate.sort(-1).values[:, rate.shape[1] - number - 1, None]
        return int((rate > best_dropped).sum(-1).min())


class CutieRules(PublicRules):
    """``compat='cutie'``: what the public code of Cutie does."""

    decoder_moves_stored = True

    def overflows(self, prototypes: int, number: int) -> bool:
        """Also where exactly ``number`` are held."""
        return prototypes >= number

    def number_kept(self, rate: Tensor, number: int) -> int:
        """Ties are broken as they come."""
        return number


RULES: dict[str | None, LibraryRules] = {None: LibraryRules(), 'xmem': PublicRules(), 'cutie': CutieRules()}
