"""The allocator's heap."""

import contextlib


def trim() -> None:
    """Give free memory back to the kernel, as far as the C library can; takes about 1 ms.

    glibc gives back by itself only what is free at the heap's end (`man 3 malloc_trim`).
    """
    import ctypes  # noqa: PLC0415  half a megabyte, for what an attack alone needs

    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
