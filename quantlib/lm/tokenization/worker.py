"""The process in which a foreign tokenizer runs: started as a script, fed by its standard input, and free to die.

The `tokenizers` library ends the whole process where it is refused memory, and runs expressions of a file for as long
as they take. Here that ends this process alone. It imports the library and little else, so that it starts in a tenth
of a second.

A message to it is a letter (L: the tokenizer.json that follows, E: text to encode, D: tokens to decode), seconds of
processor time, bytes of memory (0: as many as there are), a length and so many bytes. It answers with "+" or "-", a
length, and the tokens (uint32), the text, or what is wrong.
"""

from __future__ import annotations

import array
import os
import select
import struct
import sys
from contextlib import suppress

REQUEST, ANSWER = struct.Struct("<cdQQ"), struct.Struct("<cQ")


def _limit(seconds: float, memory: int) -> None:
    """From here on: a signal that ends the process after so much processor time, and no memory beyond this."""
    with suppress(ImportError, AttributeError, OSError, ValueError):  # not on every system; then there is no limit
        import resource
        import signal

        signal.setitimer(signal.ITIMER_PROF, seconds)
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        wanted = memory if memory else hard
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def _modest() -> None:
    """No core files; and where the machine runs out of memory, this process is the one to end."""
    with suppress(ImportError, AttributeError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _answer(library, tokenizer, kind: bytes, content: bytes):
    """The tokenizer from now on, and the answer."""
    if kind == b"L":
        return library.Tokenizer.from_buffer(content), b""
    if kind == b"E":
        encoding = tokenizer.encode_batch_fast([content.decode()], add_special_tokens=False)[0]
        return tokenizer, array.array("I", encoding.ids).tobytes()
    ids = array.array("I")
    ids.frombytes(content)
    return tokenizer, tokenizer.decode(ids.tolist(), skip_special_tokens=True).encode()


def _serve(source, sink, idle: float) -> None:
    import tokenizers

    tokenizer = None
    while os.name == "nt" or select.select([source], [], [], idle)[0]:
        head = source.read(REQUEST.size)
        if len(head) < REQUEST.size:
            return  # whoever asked has ended
        kind, seconds, memory, size = REQUEST.unpack(head)
        content = source.read(size)
        _limit(seconds, memory)
        try:
            tokenizer, said = _answer(tokenizers, tokenizer, kind, content)
            sign = b"+"
        except BaseException as error:  # panics of the library are no Exceptions
            sign, said = b"-", (str(error) or type(error).__name__)[:1000].encode("utf-8", "replace")
        _limit(0.0, 0)
        sink.write(ANSWER.pack(sign, len(said)) + said)
        sink.flush()


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])  # where the library is; nothing else of the environment is read
    _modest()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the library prints is no answer
    _serve(sys.stdin.buffer, out, float(sys.argv[2]))
