"""The GGUF files that a repository of the hub offers: their names decoded, and their sizes as it lists them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from quantlib.checkpoints.hub import Address, Repository, Terms
from quantlib.recipes import RECIPES

PART = re.compile(r"-(\d{5})-of-\d{5}\.gguf$")
BESIDE = ("mmproj", "imatrix")  # pictures' and calibration's files, which are no models
# What the ends of file names call a recipe, the longest first; its own name, and for experts in MXFP4 that alone.
SPELLED = {**{name: name for name in RECIPES}, "MXFP4": "MXFP4_MOE"}
TERMS = Terms()


@dataclass(frozen=True)
class Stored:
    """One model of a repository: its first file, the recipe that the name says ("" where it says none), all bytes."""

    name: str
    recipe: str
    nbytes: int
    parts: int = 1

    @property
    def own(self) -> bool:
        """Whether the name says another mixture than llama.cpp's: Unsloth's "UD", an "XL"."""
        return bool(re.search(r"(?:^|[-_.])(?:UD|[QX]L|XXL)(?:[-_.]|$)", self.name.upper()))


def files_at(address: str, terms: Terms = TERMS) -> tuple[Stored, ...]:
    """The models of a repository, the largest first; none of them is read. Raises CheckpointError as the hub does."""
    return files_of(Repository(Address.parse(address), terms).sizes)


def files_of(sizes: Mapping[str, int]) -> tuple[Stored, ...]:
    """Files by name and size; the parts of a split file are one."""
    found: dict[str, list[tuple[str, int]]] = {}
    for name, nbytes in sorted(sizes.items()):
        if name.endswith(".gguf") and not any(word in name.lower() for word in BESIDE):
            found.setdefault(PART.sub(".gguf", name), []).append((name, nbytes))
    models = (
        Stored(parts[0][0], recipe_in(whole), sum(nbytes for _, nbytes in parts), len(parts))
        for whole, parts in found.items()
    )
    return tuple(sorted(models, key=lambda file: -file.nbytes))


def recipe_in(name: str) -> str:
    """The recipe that a file's name says, in any case; "" where it says none."""
    text = name.upper()
    for spelled in sorted(SPELLED, key=len, reverse=True):
        if re.search(rf"(?:^|[-_./]){re.escape(spelled)}(?:[-_./]|$)", text):
            return SPELLED[spelled]
    return ""


def chosen(files: tuple[Stored, ...], recipe: str, nbytes: int) -> Stored | None:
    """The file of a recipe; where there is none, the largest that is no larger than it would be; None without any."""
    same = sorted((file for file in files if file.recipe == recipe), key=lambda file: file.own)
    smaller = [file for file in files if file.nbytes <= 1.02 * nbytes]
    return same[0] if same else max(smaller, key=lambda file: file.nbytes, default=None)
