"""Reading JSON that a stranger wrote: bounded size, bounded depth, one sentence when it is wrong."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, overload

from quantlib.checkpoints.base import MappedFile, fault, shown
from quantlib.errors import CheckpointError

MAX_JSON = 64 * 2**20  # bytes; the largest tokenizer.json in use has about 35 MB
MAX_CONTAINERS = 2**21  # a list for each of half a million merges is the most in use
MAX_ELEMENTS = 2**23


def plain_name(name: object, ending: str = "") -> bool:
    """Whether a name that a file's content gives stays in that file's folder: the one door for all such names.

    No separators, no drive, no parent, nothing hidden, nothing unprintable; a link there is for the server to judge.
    """
    if not isinstance(name, str) or not 0 < len(name) <= 255 or name.startswith(".") or not name.endswith(ending):
        return False
    return name == name.strip() and not any(c in "/\\:" or not c.isprintable() for c in name)


def decode_text(path: Path, data: bytes, what: str) -> str:
    """UTF-8 text without lone surrogates, or a CheckpointError that names `what`."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise fault(path, f"holds {what} that is not valid UTF-8 (at its byte {error.start}).") from None


def _unique(path: Path) -> Callable[[list[tuple[str, object]]], dict[str, object]]:
    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        out = dict(items)
        if len(out) != len(items):
            twice = next(key for key, count in Counter(key for key, _ in items).items() if count > 1)
            raise fault(path, f"has the JSON key {shown(twice)} twice in one object.")
        return out

    return pairs


def parse_json(path: Path, data: bytes, what: str = "text") -> Any:
    """The value of a JSON text: duplicate keys, deep nesting, numbers out of reach and lone surrogates are refused."""
    text = decode_text(path, data, what)
    # Every container and every element becomes a Python object of up to 100 bytes: both are counted beforehand.
    containers, elements = data.count(b"[") + data.count(b"{"), data.count(b",")
    if containers > MAX_CONTAINERS or elements > MAX_ELEMENTS:
        raise fault(
            path, f"holds JSON with {containers:,} brackets and {elements:,} commas, too much to be worth reading."
        )
    try:
        value = json.loads(text, object_pairs_hook=_unique(path))
    except json.JSONDecodeError as error:
        problem = error.msg[:1].lower() + error.msg[1:]
        raise fault(path, f"is not valid JSON: {problem} at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise fault(path, "nests its JSON hundreds of levels deep, which no checkpoint needs.") from None
    except ValueError:  # Python refuses to convert it, for its quadratic cost
        raise fault(path, "holds a JSON number with thousands of digits, which no checkpoint needs.") from None
    if "\\u" in text and b"\\ud" in data.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise fault(path, "holds half of a surrogate pair, which is no character.") from None
    return value


def read_json(path: Path, limit: int = MAX_JSON) -> dict[str, Any]:
    """The JSON object in a file, or a CheckpointError."""
    file = MappedFile(path)
    try:
        if file.size > limit:
            raise fault(path, f"has {file.size:,} bytes, more than the {limit:,} that are read of such a file.")
        value = parse_json(path, file.bytes(0, file.size).tobytes())
    finally:
        file.close()
    if not isinstance(value, dict):
        raise fault(path, f"holds a JSON {_kind(value)} where an object belongs.")
    return value


def read_bytes_if_there(path: Path, limit: int = MAX_JSON) -> bytes | None:
    """The bytes of a file of at most `limit`, None where there is no such file."""
    if not path.exists():
        return None
    file = MappedFile(path)
    try:
        if file.size > limit:
            raise fault(path, f"has {file.size:,} bytes, more than the {limit:,} that are read of such a file.")
        return file.bytes(0, file.size).tobytes()
    finally:
        file.close()


def read_json_if_there(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, None where there is no such file."""
    return read_json(path) if path.exists() else None


def _kind(value: object) -> str:
    return {list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")


class Fields:
    """The values of one JSON object, each checked for type and range when it is taken by the name of a JSON type."""

    def __init__(self, path: Path, values: dict[str, object], what: str = "") -> None:
        self.path, self.values, self.what = path, values, what

    def _wrong(self, key: str, value: object, wanted: str) -> CheckpointError:
        said = (
            shown(value) if isinstance(value, str) else str(value)[:40] if not isinstance(value, (dict, list)) else ""
        )
        said = said or f"a JSON {'object' if isinstance(value, dict) else 'array'}"
        return fault(self.path, f"says {self.what}{shown(key)} is {said}, where {wanted} belongs.")

    @overload
    def integer(self, key: str, low: int, high: int, default: int) -> int: ...

    @overload
    def integer(self, key: str, low: int, high: int, default: None = None) -> int | None: ...

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int | None:
        """An integer from low to high; the default where the key is absent or null."""
        value = self.values.get(key)
        if value is None:
            return default
        if type(value) is not int or not low <= value <= high:
            raise self._wrong(key, value, f"an integer from {low:,} to {high:,}")
        return value

    @overload
    def number(self, key: str, low: float, high: float, default: float) -> float: ...

    @overload
    def number(self, key: str, low: float, high: float, default: None = None) -> float | None: ...

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float | None:
        """A finite number from low to high; the default where the key is absent or null."""
        value = self.values.get(key)
        if value is None:
            return default
        # The range is tested before the conversion: an integer too large for a float would overflow there.
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, value, f"a number from {low:g} to {high:g}")
        if not low <= value <= high or not math.isfinite(value):
            raise self._wrong(key, value, f"a number from {low:g} to {high:g}")
        return float(value)

    @overload
    def boolean(self, key: str, default: bool) -> bool: ...

    @overload
    def boolean(self, key: str, default: None = None) -> bool | None: ...

    def boolean(self, key: str, default: bool | None = None) -> bool | None:
        """A boolean; the default where the key is absent or null."""
        value = self.values.get(key)
        if value is None:
            return default
        if type(value) is not bool:
            raise self._wrong(key, value, "true or false")
        return value

    @overload
    def string(self, key: str, default: str, limit: int = 2**20) -> str: ...

    @overload
    def string(self, key: str, default: None = None, limit: int = 2**20) -> str | None: ...

    def string(self, key: str, default: str | None = None, limit: int = 2**20) -> str | None:
        """A string; the default where the key is absent or null."""
        value = self.values.get(key)
        if value is None:
            return default
        if type(value) is not str or len(value) > limit:
            raise self._wrong(key, value, f"a string of at most {limit:,} characters")
        return value

    def mapping(self, key: str) -> dict[str, Any]:
        """An object; an empty one where the key is absent or null."""
        value = self.values.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(key, value, "an object")
        return value

    def array(self, key: str) -> list[Any]:
        """An array; an empty one where the key is absent or null."""
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(key, value, "an array")
        return value
