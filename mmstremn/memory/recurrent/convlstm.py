"""ConvLSTM (Shi et al., "Convolutional LSTM Network", NeurIPS 2015): the cell and the memory.

With gradients the cell leaves its gates to :mod:`mmstremn.memory.recurrent.lean_gates`, which computes the
same and keeps less.
"""

import torch
from torch import Tensor, nn

from mmstremn.memory.recurrent.base import RecurrentMemory, RecurrentState, check_sizes, conv2d, convolved
from mmstremn.memory.recurrent.lean_gates import LSTMGates, alias, joined


class ConvLSTMCell(nn.Module):
    """An LSTM whose products are convolutions (Shi et al., NeurIPS 2015), without peepholes and biases.

    Checked against chengtan9907/OpenSTL openstl/modules/convlstm_modules.py.

    Args:
        in_channels: C of the input.
        hidden_channels: Ch of the state.
        kernel: Odd size of the convolutions.

    Raises:
        ValueError: A size is not positive or the kernel is even.
    """

    def __init__(self, in_channels: int, hidden_channels: int, kernel: int = 5):
        super().__init__()
        check_sizes(self, kernel, in_channels=in_channels, hidden_channels=hidden_channels)
        self.conv_x = conv2d(in_channels, 4 * hidden_channels, kernel)
        self.conv_h = conv2d(hidden_channels, 4 * hidden_channels, kernel)

    def forward(
        self, x: Tensor, h: Tensor | None, c: Tensor, room: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """One step.

        Args:
            x: (B, C, h, w).
            h: Output of the step before (B, Ch, h, w); None: zeros, which need no products.
            c: Cell state (B, Ch, h, w).
            room: Where the next h and c are written; None: new tensors. Only used with gradients.

        Returns:
            The next h and c.
        """
        sums = self.conv_x(x)
        sums += convolved(self.conv_h, h, sums)
        if torch.is_grad_enabled():
            return LSTMGates.apply(sums, c, *(room or (torch.empty_like(c), torch.empty_like(c))))
        i, f, g, o = sums.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class ConvLSTMMemory(RecurrentMemory):
    """One ConvLSTM state per object (Shi et al., NeurIPS 2015).

    Args:
        key_channels: Ck.
        value_channels: Cv.
        hidden_channels: Ch of every layer; None: Cv.
        kernel: Odd size of the cells' convolutions. A write costs 4 (Cv + Ck + L Ch + (L - 1) Ch) Ch kernel^2
            products a place (256 channels and kernel 5: 15 million; kernel 3: 5 million).
        layers: L.

    Raises:
        ValueError: A size is not positive or the kernel is even.
    """

    cell_class = ConvLSTMCell

    def __init__(
        self,
        key_channels: int = 64,
        value_channels: int = 256,
        hidden_channels: int | None = None,
        kernel: int = 5,
        layers: int = 1,
    ):
        super().__init__(key_channels, value_channels, hidden_channels, kernel, layers)

    def _advance(self, state: RecurrentState, x: Tensor) -> dict[str, Tensor]:
        outputs, cells = [], []
        hidden, cell = self._room(x), self._room(x)
        for index, (layer, h, c) in enumerate(self._layers(state)):
            room = None
            if hidden is not None and cell is not None:
                room = alias(hidden[:, index]), alias(cell[:, index])
            x, c = layer(x, h if state.step else None, c, room)
            outputs.append(x)
            cells.append(c)
        return dict(hidden=joined(outputs, hidden), cell=joined(cells, cell))
