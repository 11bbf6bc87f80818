"""The weights of an objective: shares, and knobs that may be turned while a descent runs."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from styletutor.loss.parts import Part

Weight = float | Sequence[float]  # one for all pictures of a batch, or one for each
LayerWeights = Mapping[str, Weight] | Iterable[str] | str
PARTS = "parts"  # no knob's name
Blend = Mapping[str, Sequence[float]] | Sequence[float] | None


class Knobs:
    """Named weights ≥ 0, each one number or one per picture of a batch.

    Anyone may `set` a number at any time, from any thread. What an evaluation counts with, the
    numbers `in_use` and tensors on the device, follows at the next `sync`, of the thread that
    evaluates; a tensor keeps its place in memory unless its length changes, which `moves` counts.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.moves = device, 0
        self.values: dict[str, tuple[float, ...]] = {}
        self.in_use: dict[str, tuple[float, ...]] = {}
        self._tensors: dict[str, Tensor] = {}
        self._lock = threading.Lock()

    def set(self, name: str, value: Weight | Tensor) -> None:
        """Raises ValueError for what is not one or more finite numbers ≥ 0."""
        try:
            numbers = tuple(torch.as_tensor(value, dtype=torch.float32).reshape(-1).tolist())
        except (TypeError, ValueError, RuntimeError, OverflowError):
            numbers = (math.nan,)
        if not numbers or not all(0 <= number < math.inf for number in numbers):
            raise ValueError(f"the weight of {name} is {value}; it must be a finite number ≥ 0")
        with self._lock:
            self.values[name] = numbers

    def sync(self) -> bool:
        """Bring what is in use up to date; was there anything to bring?"""
        if self.values == self.in_use:
            return False
        with self._lock:
            values = dict(self.values)
        for name in (name for name in values if values[name] != self.in_use.get(name)):
            self._bring(name, torch.tensor(values[name]))
        length = max(map(len, values.values()))  # one number stands for all pictures
        each = {name: (numbers * length)[:length] for name, numbers in values.items()}
        rows = [
            [a * b for a, b in zip(each[Part.of(name).term], numbers, strict=True)]
            for name, numbers in each.items()
            if Part.of(name).layer and Part.of(name).term in each
        ]
        self._bring(PARTS, torch.tensor(rows).view(len(rows), length))
        self.in_use = values
        return True

    def _bring(self, name: str, tensor: Tensor) -> None:
        if name in self._tensors and self._tensors[name].shape == tensor.shape:
            self._tensors[name].copy_(tensor)
        else:
            self._tensors[name], self.moves = tensor.to(self.device), self.moves + 1

    def __getitem__(self, name: str) -> Tensor:
        """The weight as a tensor (1,) or (B,) on the device, as of the last `sync`."""
        return self._tensors[name]

    @property
    def parts(self) -> Tensor:
        """What each part of a term counts, its own weight times the term's: (P, 1 or B)."""
        return self._tensors[PARTS]

    def uses(self, batch: int, *names: str) -> list[bool]:
        """For each picture of a batch: are all the weights `names` in use above 0?"""
        columns = [self.in_use[name] for name in names]
        columns = [values * batch if len(values) == 1 else values for values in columns]
        return [all(weights) for weights in zip(*columns, strict=True)]


def layer_shares(layers: LayerWeights, average: bool = True) -> dict[str, Weight]:
    """Layer names or a mapping name → weight, as shares that sum to 1; as given if not `average`.

    With a sequence of weights per layer, one for each picture of a batch, the shares of each
    picture sum to 1, or are all 0 where it uses none of the layers. Raises ValueError for a
    negative or non-finite weight, for sequences of different lengths, or if all weights are 0.
    """
    if isinstance(layers, str):
        layers = [layers]
    if not isinstance(layers, Iterable):
        raise ValueError(f"the layers are {layers!r}; give names, or a mapping name → weight")
    weights = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    if not any(isinstance(weight, Sequence) for weight in weights.values()):
        scaled = shares(weights.values(), "layer weights")
        return dict(zip(weights, scaled if average else map(float, weights.values()), strict=True))
    lengths = {len(w) if isinstance(w, Sequence) else 0 for w in weights.values()}
    if len(lengths) != 1:
        raise ValueError("layer weights must be all numbers, or all sequences of one length")
    columns = [
        shares(column, "layer weights") if any(column) else [0.0] * len(column)
        for column in zip(*weights.values(), strict=True)
    ]
    if not any(map(any, columns)):
        raise ValueError("the layer weights are all 0; at least one must be positive")
    return dict(zip(weights, map(list, zip(*columns, strict=True)), strict=True))


def blend_shares(blend: Blend, styles: int, layers: Sequence[str]) -> dict[str, list[float]]:
    """For each layer the shares of the style pictures, which sum to 1; equal ones if None."""
    each = blend if isinstance(blend, Mapping) else dict.fromkeys(layers, blend)
    if not all(values is None or isinstance(values, Iterable) for values in each.values()):
        raise ValueError(f"the blend is {blend!r}; give one share for each style")
    missing = [layer for layer in layers if layer not in each]
    strange = [layer for layer in each if layer not in layers]
    if missing or strange:
        what = f"is silent about {missing[0]}" if missing else f"names {strange[0]}"
        raise ValueError(f"the blend {what}; its layers must be the style layers")
    scaled = {}
    for layer in layers:
        values = [1.0] * styles if each[layer] is None else list(each[layer])
        if len(values) != styles:
            raise ValueError(
                f"{len(values)} blend weights for {styles} style picture(s); give one for each"
            )
        scaled[layer] = shares(values, "blend weights")
    return scaled


def shares(values: Iterable[float], what: str) -> list[float]:
    """Numbers divided by their sum. Raises ValueError as `layer_shares` does."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"the {what} are {list(values)}; they must be finite numbers ≥ 0"
        ) from None
    if any(not math.isfinite(n) or n < 0 for n in numbers):
        raise ValueError(f"the {what} are {numbers}; they must be finite numbers ≥ 0")
    total = sum(numbers)
    if numbers and total == 0:
        raise ValueError(f"the {what} are all 0; at least one must be positive")
    return [n / total for n in numbers]
