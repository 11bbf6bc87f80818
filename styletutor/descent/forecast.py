"""How much memory a descent needs, worked out before it starts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from styletutor.descent.lbfgs import LBFGS
from styletutor.machine import GIB, free_bytes
from styletutor.network import fused
from styletutor.network.tiles import in_a_file, is_cut, largest_seen, smallest_tile
from styletutor.network.vgg import VGG, in_one
from styletutor.pictures.images import is_whole

PICTURES = 9  # besides the optimiser's: the present, the best and the next, gradients, the given
MOST_CUTS = 64  # of a side
MARGIN = 1.2  # the forecast may be a fifth too low
FLOAT, INDEX = 4, 8  # bytes
WHICH = 1  # of four, where kernels of our own pool
HEAP = 2**25  # bytes; what is smaller, a C library keeps for itself when it is freed


@dataclass(frozen=True)
class Room:
    """How a descent goes about with memory: in tiles of so many pixels (None: in one piece), and
    with what L-BFGS remembers in memory or in a file that goes when it does."""

    tile: int | None = None
    on_disk: bool = False


WHOLE = Room()


def predict(
    vgg: VGG,
    size: Sequence[int],
    content_layers: Collection[str] = (),
    style_layers: Collection[str] = (),
    *,
    batch: int | Mapping[str, int] = 1,
    precision: str = "exact",
    optimiser: str = "lbfgs",
    styles: Sequence[Sequence[int]] = (),
    regions: int = 0,
    room: Room = WHOLE,
) -> int:
    """Bytes that a descent on pictures of `size` (H, W) adds to what the process has, at its peak.

    Counted as the core allocates: what the forward pass keeps for the way back, and three
    gradients where they are largest; the targets; the optimiser's state. On a CPU tensors of less
    than 32 MiB count five thirds, as found on Linux: freed, they do not go back to the system. A
    fast descent ends in full precision, so it needs no less, and its copy of the weights besides.
    `batch` is the number of pictures, or for how many of them each layer is needed. `styles` are
    the sizes of the style pictures, whose features are there before the descent, one by one;
    `regions` is the number of masks, and `room` how it goes about: with tiles only the largest of
    them is in the network, and what is on disk does not count.
    """
    layers = {*content_layers, *style_layers}
    counts = batch if isinstance(batch, Mapping) else dict.fromkeys(layers, batch)
    seen = largest_seen(vgg, size, counts, room.tile)
    picture = max(counts.values()) * 3 * size[0] * size[1] * FLOAT
    copies = sum(p.numel() for p in vgg.convolutions.parameters()) * FLOAT
    descent = (
        (_history(optimiser, room) + PICTURES) * picture
        + _targets(vgg, size, content_layers, style_layers, room)
        + _evaluation(vgg, seen, content_layers, style_layers, counts, regions)
        + (copies if precision == "fast" else 0)
    )
    looks = (largest_seen(vgg, style, style_layers, room.tile) for style in styles if style_layers)
    return max(descent, *(_look(vgg, style, style_layers) for style in looks), 0)


def _history(optimiser: str, room: Room) -> int:
    """How many pictures an optimiser has in memory."""
    if optimiser == "lbfgs":
        return 0 if room.on_disk else 2 * LBFGS().history + 7
    return 2


def _bytes(vgg: VGG, values: int, width: int = FLOAT) -> int:
    size = values * width
    return size * 5 // 3 if vgg.device.type == "cpu" and size < HEAP else size


def _targets(
    vgg: VGG,
    size: Sequence[int],
    content_layers: Collection[str],
    style_layers: Collection[str],
    room: Room,
) -> int:
    """Bytes of what is aimed at, but for features that are in a file."""
    content, style = (
        [vgg.layer(name) for name in names] for names in (content_layers, style_layers)
    )
    values = [row.channels * (size[0] // row.stride) * (size[1] // row.stride) for row in content]
    if content and is_cut(vgg, size, content_layers, room.tile):
        values = [each for each in values if not in_a_file(each * FLOAT, vgg.device)]
    values += [row.channels**2 for row in style]
    return sum(_bytes(vgg, each) for each in values)


def _place(vgg: VGG) -> int:
    """Bytes for where a maximum was."""
    return WHICH if fused.serves(vgg.mean) else INDEX


def _look(vgg: VGG, size: Sequence[int], layers: Collection[str]) -> int:
    """Bytes of a forward pass that keeps nothing: what comes into a group and all that it makes."""
    if not layers:
        return 0
    chain = vgg.layers[: vgg.layers.index(vgg.deepest(layers)) + 1]
    came = most = picture = 3 * size[0] * size[1] * FLOAT
    for rows in in_one(chain, layers):
        own = [row.channels * (size[0] // row.stride) * (size[1] // row.stride) for row in rows]
        made = own[0] * FLOAT
        if rows[-1].kind == "pool":  # of a maximum, where it was as well
            made += own[-1] * (FLOAT * (len(rows) > 1) + _place(vgg) * (vgg.pooling == "max"))
        most, came = max(most, came + made), own[-1] * FLOAT
    return picture + most


def _evaluation(
    vgg: VGG,
    size: Sequence[int],
    content_layers: Collection[str],
    style_layers: Collection[str],
    counts: Mapping[str, int],
    regions: int,
) -> int:
    """Bytes of one forward and backward pass at its peak."""
    cost = partial(_bytes, vgg)
    chain = vgg.layers[: vgg.layers.index(vgg.deepest(counts)) + 1]
    groups = {row.name: rows for rows in in_one(chain, counts) for row in rows}
    rows = []
    for place, layer in enumerate(chain):
        n = max(counts.get(row.name, 0) for row in chain[place:])
        own = layer.channels * (size[0] // layer.stride) * (size[1] // layer.stride)
        kept, gradients = 0, 2 * cost(n * own)  # what came, and what the ReLU let through
        if vgg.pooling == "max" and groups[layer.name][-1].kind == "pool":
            if layer.kind == "pool":  # of a maximum, where it was; of more in one, its value too
                kept += cost(n * own, _place(vgg)) + (len(groups[layer.name]) > 1) * cost(n * own)
            else:
                gradients -= cost(n * own)
        elif layer.kind == "relu" or layer.name in counts:
            kept += cost(n * own)
        if layer.name in content_layers:
            kept += cost(counts[layer.name] * own)  # the difference to the target
        if layer.name in style_layers:
            kept += regions * cost(n * own)  # the features as each mask weights them
        rows.append((cost(n * own), kept, gradients, layer.name in style_layers))
    held = sum(row[1] for row in rows)
    peak = held + rows[-1][0]
    for below, (gradient, kept, gradients, in_style) in zip(rows[-2::-1], rows[:0:-1], strict=True):
        peak = max(peak, held + gradients + max(below[0], gradient * in_style))
        held -= kept
    return peak


def find_room(
    vgg: VGG,
    size: Sequence[int],
    content_layers: Collection[str] = (),
    style_layers: Collection[str] = (),
    *,
    tile: int | None = None,
    **how: object,
) -> Room:
    """How a descent fits into what is free: whole, in tiles, in tiles with its history on disk.

    The first of these that does, with a fifth more than `predict` says to be safe, and the largest
    tile, if no `tile` is given. Raises ValueError, with the largest size that fits, if none does.
    """
    layers = {*content_layers, *style_layers}
    least = smallest_tile(vgg, layers)
    if tile is not None and not (is_whole(tile) and tile >= least):
        name = vgg.deepest(layers).name
        raise ValueError(f"tile={tile}; for {name} it must be a whole number of at least {least}")
    free = free_bytes(vgg.device)
    disk = (False, True) if vgg.device.type == "cpu" else (False,)
    tiles = [tile]
    if tile is None:
        tiles += sorted({max(least, -(-max(size) // n)) for n in range(2, MOST_CUTS)}, reverse=True)
    rooms = [Room(each, on_disk) for on_disk in disk for each in tiles]
    for room in rooms:
        needed = MARGIN * predict(vgg, size, content_layers, style_layers, room=room, **how)
        if needed <= free:
            return room
    best = largest_side(vgg, size, free, content_layers, style_layers, room=rooms[-1], **how)
    remedy = f"the largest that fits is size={best} (--size {best})" if best else "none fits"
    raise ValueError(
        f"pictures of {size[1]}×{size[0]} pixels need about {needed / GIB:.1f} GiB of memory and "
        f"{free / GIB:.1f} GiB are free; {remedy}; fewer or less deep layers need less"
    )


def largest_side(
    vgg: VGG,
    size: Sequence[int],
    free: int,
    content_layers: Collection[str] = (),
    style_layers: Collection[str] = (),
    styles: Sequence[Sequence[int]] = (),
    **how: object,
) -> int:
    """The longest side, a multiple of 16, at which a picture of this shape, and styles shrunk to
    it too, need at most `free` bytes, a fifth to be safe included; 0 if none."""
    low, high = 0, 2**12  # in steps of 16 pixels
    while high - low > 1:
        side = (low + high) // 2 * 16
        shape = [max(1, round(side * s / max(size))) for s in size]
        small = [[max(1, round(s * min(1, side / max(style)))) for s in style] for style in styles]
        needed = predict(vgg, shape, content_layers, style_layers, styles=small, **how)
        fits = MARGIN * needed <= free
        low, high = ((low + high) // 2, high) if fits else (low, (low + high) // 2)
    return low * 16
