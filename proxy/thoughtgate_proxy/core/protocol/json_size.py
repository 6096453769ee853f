"""How many keys and values a JSON text has, before a parser makes objects of them."""

import re

# A sign that begins a value or ends a key, or a whole string, which is passed over. It cannot fail
# once it has begun, so a text takes time in proportion to its length.
_SIGN = re.compile(rb'[,:{\[]|"(?>[^"\\]+|\\.?)*+(?:"|\Z)', re.DOTALL)


def exceeds(text: bytes, most: int) -> bool:
    """Whether there are more than `most` keys and values, as far as it is JSON at all."""
    if len(text) <= most:
        return False
    # Most texts have few of these bytes, strings included, and to count bytes costs little.
    if sum(map(text.count, (b",", b":", b"{", b"["))) <= most:
        return False
    signs = strings = 0
    for found in _SIGN.finditer(text):
        if text[found.start()] == 0x22:
            strings += 1
        else:
            signs += 1
        # In JSON there is a sign for each string, but for one that stands alone.
        if signs > most or strings > most + 1:
            return True
    return False
