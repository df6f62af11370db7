"""A body of text in parts, and where it comes from."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A text, or tuples of pairs, in three parts that share no document; and where it is from."""

    name: str
    train: str | tuple
    validation: str | tuple
    test: str | tuple
    source: str
    licence: str
    unit: str = "characters"

    @property
    def sha256(self) -> str:
        """Fingerprint of train, validation and test, one after the other."""
        whole = self.train + self.validation + self.test
        whole = whole if isinstance(whole, str) else repr(whole)
        return hashlib.sha256(whole.encode()).hexdigest()

    def __repr__(self) -> str:
        sizes = f"{len(self.train):,} + {len(self.validation):,} + {len(self.test):,} {self.unit}"
        return f"{self.name}: {sizes}, {self.source}, {self.licence}, sha256 {self.sha256[:12]}"


def part_of(name: str) -> str:
    """Train, for about eight names in ten, validation or test; fixed, whatever names there are."""
    return {3: "validation", 7: "test"}.get(hashlib.sha256(name.encode()).digest()[0] % 10, "train")
