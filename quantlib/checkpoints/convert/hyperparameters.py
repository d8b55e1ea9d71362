"""The metadata keys of a model's numbers, by what its architecture declares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from quantlib.architectures import Architecture, Config
from quantlib.architectures.declaration import FILE_TYPE, Key, Keys
from quantlib.checkpoints.base import MetadataValue


def metadata_of(
    keys: Iterable[Keys], architecture: Architecture, config: Config, file_type: int | None = None
) -> dict[str, MetadataValue]:
    """The declared keys that this model has values for, in their order; file_type goes to general.file_type."""
    out: dict[str, MetadataValue] = {}
    for key in _each(keys, config):
        value = file_type if key is FILE_TYPE else key.of(config)
        if value is not None:
            name = key.name if key is FILE_TYPE else f"{architecture.name_of(config)}.{key.name}"
            out[name] = MetadataValue(key.type, value)
    return out


def _each(keys: Iterable[Keys], config: Config) -> Iterator[Key]:
    for key in keys:
        if isinstance(key, Key):
            yield key
        else:
            yield from key(config)
