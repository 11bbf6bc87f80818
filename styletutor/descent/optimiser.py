"""What the optimisers have in common."""

from __future__ import annotations

import torch
from torch import Tensor


class Optimiser:
    """`step(x, loss, gradient)` gives the next point to evaluate, `restart` forgets.

    The tensors named in `STATE` are all that it stands on. They stay where they are, on the device,
    once `_allocate` has made them from those named in `LIKE`.
    """

    STATE: tuple[str, ...]
    LIKE: tuple[str, ...]

    def state(self) -> dict[str, Tensor]:
        """What a descent needs to go on from here: nothing before the first step."""
        begun = getattr(self, self.STATE[0]) is not None
        return {name: getattr(self, name) for name in self.STATE} if begun else {}

    @torch.no_grad()
    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave, on the device of its tensors."""
        if state:
            self._allocate(*(state[name] for name in self.LIKE))
            for name in self.STATE:
                if name in state:
                    getattr(self, name).copy_(state[name])
