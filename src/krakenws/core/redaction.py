r"""The one place where secrets are taken out of what leaves the program.

Every secret is registered with one `Redactor` when it is found; everything that is printed, logged or put
into an exception's text passes through `clean` or `clean_bytes`. A secret may arrive there in other clothes
than it was found in: JSON encoders write `/` as `\/` and `+` as `\u002b` (once more for each level of JSON
inside JSON), forms and URLs write both as `%2F` and `%2B`. Every one of these needs a backslash or a percent
sign. So text without either is searched for the secret as it is, at the speed of `str.replace`; other text by
a pattern that allows each character its every spelling.

A secret cut in two by the caller is not recognised: pass whole lines.

Tokens are fetched in threads, so secrets may be added in one while text is cleaned in another.
"""

from __future__ import annotations

from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

MASK = "***"
MIN_TOKEN_LENGTH = 8
"""Kraken's have 43 characters. One of two or three would be redacted out of prices and names."""
_MASK_BYTES = b"***"


class Secret:
    """A text that shows itself only through `reveal`: `str`, `repr` and f-strings give `***`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, for the wire or for the file it is stored in."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled or copied")


class Redactor:
    """Replaces every registered secret by `***`, however it is escaped, longest secret first."""

    __slots__ = ("_byte_patterns", "_bytes", "_lock", "_text_patterns", "_texts")

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._texts: tuple[str, ...] = ()
        self._bytes: tuple[bytes, ...] = ()
        self._text_patterns: list[re.Pattern[str]] = []
        self._byte_patterns: list[re.Pattern[bytes]] = []

    def add(self, secret: str | Secret) -> None:
        """Register a secret; an empty one, or one that is known, changes nothing."""
        text = secret.reveal() if isinstance(secret, Secret) else secret
        with self._lock:
            if not text or text in self._texts:
                return
            self._texts = tuple(sorted((*self._texts, text), key=len, reverse=True))
            self._bytes = tuple(known.encode("utf-8", "surrogatepass") for known in self._texts)
            self._text_patterns, self._byte_patterns = [], []

    def clean(self, text: str) -> str:
        """Return `text` with `***` in the place of each secret."""
        if not self._texts:
            return text
        if "\\" in text or "%" in text:
            for pattern in self._text_patterns or self._compile()[0]:
                text = pattern.sub(MASK, text)
            return text
        for secret in self._texts:
            text = text.replace(secret, MASK)
        return text

    def clean_bytes(self, data: bytes) -> bytes:
        """Return UTF-8 `data` with `***` in the place of each secret; the same object when it has none."""
        if not self._bytes:
            return data
        if b"\\" in data or b"%" in data:
            for pattern in self._byte_patterns or self._compile()[1]:
                data = pattern.sub(_MASK_BYTES, data)
            return data
        for secret in self._bytes:
            data = data.replace(secret, _MASK_BYTES)
        return data

    def _compile(self) -> tuple[list[re.Pattern[str]], list[re.Pattern[bytes]]]:
        # Not in `add`: most runs with a token never meet an escape, and `re` is slow to import.
        import re

        texts = self._texts
        # One pattern each, every alternative beginning with a literal: so `re` can leap from start to start.
        sources = ["".join(map(_spellings, secret)) for secret in texts]
        text_patterns = [re.compile(source) for source in sources]
        byte_patterns = [re.compile(source.encode("utf-8", "surrogatepass")) for source in sources]
        with self._lock:
            if texts is self._texts:
                self._text_patterns, self._byte_patterns = text_patterns, byte_patterns
                return text_patterns, byte_patterns
        return self._compile()  # another secret came in meanwhile

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._texts)} secrets>"


def _spellings(character: str) -> str:
    """Return a pattern for one character: itself, its JSON escapes, its percent encoding.

    Backslashes double at each level of JSON inside JSON (1, 3, 7 of them), a percent sign becomes `%25`.
    White space has no spelling of its own here: no token or key contains any.
    """
    import re

    utf16 = character.encode("utf-16-be", "surrogatepass")
    units = [utf16[at : at + 2].hex() for at in range(0, len(utf16), 2)]
    forms = [
        re.escape(character),
        "".join(rf"\\\\{{0,6}}u(?i:{unit})" for unit in units),
        "".join(f"%(?:25){{0,3}}(?i:{byte:02x})" for byte in character.encode("utf-8", "surrogatepass")),
    ]
    if character in '"\\/':
        forms.insert(0, rf"\\\\{{0,6}}{re.escape(character)}")
    return f"(?:{'|'.join(forms)})"
