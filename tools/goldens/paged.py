"""Caches in pages: what paged_update and paged_gather do, element by element, and attention on pages that numpy laid out."""

import numpy as np

from canonical import DTYPES, F32


def laid_out(cache, pages):
    """[P, S, ...] by [B, N] as [B, N * S, ...]; zeros where there is no such page."""
    zeros = np.zeros((1, *cache.shape[1:]), cache.dtype)
    with_zeros = np.concatenate([cache.view(np.uint8), zeros.view(np.uint8)]).view(cache.dtype)
    exists = (pages >= 0) & (pages < len(cache))
    picked = with_zeros[np.where(exists, pages, len(cache))]
    return np.ascontiguousarray(picked).reshape(pages.shape[0], pages.shape[1] * cache.shape[1], *cache.shape[2:])


def updated(cache, update, pages, position):
    result = cache.copy()
    slots = cache.shape[1]
    for row, at in enumerate(position):
        for token in range(update.shape[1]):
            place = int(at) + token
            if 0 <= place < pages.shape[1] * slots:
                page = pages[row, place // slots]
                if 0 <= page < len(cache):
                    result[page, place % slots] = update[row, token]
    return result


NONE, BEYOND = -1, 2**31 - 1
# Pages of each row, first places of the update. The last two write slots twice: the later token stays.
UPDATES = [
    ("in order", [[0, 1, 2], [3, 4, 5]], [0, 4]),
    ("across pages, in any order", [[5, 0, 3], [1, 4, 2]], [2, 7]),
    ("some pages missing", [[5, NONE, 3], [BEYOND, 4, 6]], [2, 1]),
    ("beyond the pages and before them", [[5, 0, 3], [1, 4, 2]], [10, -3]),
    ("far from any page", [[5, 0, 3], [1, 4, 2]], [2**31 - 1, -(2**31)]),
    ("shared pages", [[2, 0, 3], [2, 4, 5]], [0, 1]),
    ("a page twice in a row", [[2, 2, 3], [1, 4, 4]], [0, 4]),
]


def cases(case):
    """Calls case(op, name, operands, attributes, results)."""
    rng = np.random.default_rng(20261128)

    def raw(dtype, *shape):
        if dtype == "bool":
            return rng.random(shape) < 0.5
        if dtype == "f32":
            return rng.standard_normal(shape).astype(F32)
        size = np.dtype(DTYPES[dtype]).itemsize
        return np.ascontiguousarray(rng.integers(0, 256, (*shape, size), dtype=np.uint8)).view(DTYPES[dtype]).reshape(shape)

    for dtype in DTYPES:
        for name, pages, position in UPDATES:
            cache, update = raw(dtype, 6, 4, 2, 3), raw(dtype, 2, 5, 2, 3)
            pages, position = np.array(pages, np.int32), np.array(position, np.int32)
            case("paged_update", f"{dtype} {name}", [cache, update, pages, position], {}, [updated(cache, update, pages, position)])
            case("paged_gather", f"{dtype} {name}", [cache, pages], {}, [laid_out(cache, pages)])
    empty = [("no rows", 6, 4, 0, 5, 3), ("no tokens", 6, 4, 2, 0, 3), ("no pages of a row", 6, 4, 2, 5, 0), ("no pages", 0, 4, 2, 5, 3), ("pages of nothing", 6, 0, 2, 5, 3)]
    for name, count, slots, rows, tokens, columns in empty:
        cache, update = raw("f32", count, slots, 3), raw("f32", rows, tokens, 3)
        pages, position = np.zeros((rows, columns), np.int32), np.arange(rows, dtype=np.int32)
        case("paged_update", f"f32 {name}", [cache, update, pages, position], {}, [updated(cache, update, pages, position)])
        case("paged_gather", f"f32 {name}", [cache, pages], {}, [laid_out(cache, pages)])
    vector, two = raw("bf16", 6, 4), raw("bf16", 2, 5)
    pages, position = np.array([[4, 1], [3, 0]], np.int32), np.array([1, 3], np.int32)
    case("paged_update", "bf16 of rank 2", [vector, two, pages, position], {}, [updated(vector, two, pages, position)])
    case("paged_gather", "bf16 of rank 2", [vector, pages], {}, [laid_out(vector, pages)])
