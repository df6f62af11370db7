"""A body of text in parts, and where it comes from."""

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


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


def installed(subject: str, package: str, holds: str, advice: str) -> Path:
    """The folder of an installed package, found without importing it.

    Raises ModuleNotFoundError, with the line that installs it, where it is missing.
    """
    found = importlib.util.find_spec(package)
    if found is None:
        raise ModuleNotFoundError(
            f"{subject}: expected the package {package!r}, which holds {holds}, but it is not "
            f"installed; {advice}"
        )
    return Path(found.submodule_search_locations[0])


def in_parts(subject: str, parts: Mapping[str, Sequence], source: str) -> dict[str, tuple]:
    """Train, validation and test as tuples; ValueError where one of them is empty."""
    if not all(parts.values()):
        raise ValueError(
            f"{subject}: expected something for each part, got "
            f"{', '.join(f'{len(found)} for {part}' for part, found in parts.items())} from "
            f"{source}; install the package again"
        )
    return {part: tuple(found) for part, found in parts.items()}
