"""Reading JSON that a stranger wrote: bounded size, bounded depth, one sentence when it is wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path

from quantlib.checkpoints.base import MappedFile, fault, shown
from quantlib.errors import CheckpointError

MAX_JSON = 64 * 2**20  # bytes; the largest tokenizer.json in use has about 35 MB
MAX_CONTAINERS = 2**21  # a list for each of half a million merges is the most in use
MAX_ELEMENTS = 2**23


def decode_text(path: Path, data: bytes, what: str) -> str:
    """UTF-8 text without lone surrogates, or a CheckpointError that names `what`."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise fault(path, f"holds {what} that is not valid UTF-8 (at its byte {error.start}).") from None


def _unique(path: Path):
    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        out = dict(items)
        if len(out) != len(items):
            seen: set[str] = set()
            twice = next(key for key, _ in items if key in seen or seen.add(key))
            raise fault(path, f"has the JSON key {shown(twice)} twice in one object.")
        return out

    return pairs


def parse_json(path: Path, data: bytes, what: str = "text") -> object:
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


def read_json(path: Path, limit: int = MAX_JSON) -> dict[str, object]:
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


def read_json_if_there(path: Path) -> dict[str, object] | None:
    """The JSON object in a file, None where there is no such file."""
    return read_json(path) if path.exists() else None


def _kind(value: object) -> str:
    return {list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")


class Fields:
    """The values of one JSON object, each checked for type and range when it is taken."""

    def __init__(self, path: Path, values: dict[str, object], what: str = ""):
        self.path, self.values, self.what = path, values, what

    def _wrong(self, key: str, value: object, wanted: str) -> CheckpointError:
        said = (
            shown(value) if isinstance(value, str) else str(value)[:40] if not isinstance(value, (dict, list)) else ""
        )
        said = said or f"a JSON {'object' if isinstance(value, dict) else 'array'}"
        return fault(self.path, f"says {self.what}{shown(key)} is {said}, where {wanted} belongs.")

    def int(self, key: str, low: int, high: int, default: int | None = None) -> int | None:
        """An integer from low to high; the default where the key is absent or null."""
        value = self.values.get(key)
        if value is None:
            return default
        if type(value) is not int or not low <= value <= high:
            raise self._wrong(key, value, f"an integer from {low:,} to {high:,}")
        return value

    def float(self, key: str, low: float, high: float, default: float | None = None) -> float | None:
        """A finite number from low to high; the default where the key is absent or null."""
        value = self.values.get(key)
        if value is None:
            return default
        # The range is tested before the conversion: an integer too large for a float would overflow there.
        if type(value) not in (int, float) or not low <= value <= high or not math.isfinite(value):
            raise self._wrong(key, value, f"a number from {low:g} to {high:g}")
        return float(value)

    def bool(self, key: str, default: bool | None = None) -> bool | None:
        """A boolean; the default where the key is absent or null."""
        value = self.values.get(key)
        if value is None:
            return default
        if type(value) is not bool:
            raise self._wrong(key, value, "true or false")
        return value

    def str(self, key: str, default: str | None = None, limit: int = 2**20) -> str | None:
        """A string; the default where the key is absent or null."""
        value = self.values.get(key)
        if value is None:
            return default
        if type(value) is not str or len(value) > limit:
            raise self._wrong(key, value, f"a string of at most {limit:,} characters")
        return value

    def object(self, key: str) -> dict[str, object]:
        """An object; an empty one where the key is absent or null."""
        value = self.values.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(key, value, "an object")
        return value

    def list(self, key: str) -> list[object]:
        """An array; an empty one where the key is absent or null."""
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(key, value, "an array")
        return value
