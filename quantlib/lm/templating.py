"""The process in which a foreign chat template is rendered: started as a script, within limits, and free to die.

A template is a program in Jinja's language, and comes from anywhere. It runs in Jinja's sandbox, which reaches no
attribute that Python keeps for itself, and in a process that has so much processor time and memory and no more. On
standard input is one JSON document: template, messages, tokens, seconds, memory, longest; the answer on standard output
is another one: {"text": ...} or {"error": ...}.
"""

import json
import sys
from contextlib import suppress
from datetime import datetime


def limit(seconds, memory):
    """From here on: so much processor time and memory, no files, no further processes, no core."""
    with suppress(
        ImportError, AttributeError, OSError, ValueError
    ):  # not on every system; then the caller's clock ends it
        import resource

        whole = max(1, round(seconds))
        resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def environment():
    """What templates find besides Jinja's own: what transformers gives them."""
    from jinja2.exceptions import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message):
        raise TemplateError(str(message))

    def as_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    made.filters["tojson"] = as_json
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = lambda form: datetime(2026, 1, 1).strftime(form)  # the same on every day
    return made


def rendered(asked):
    """The text of an example, cut where it is too long."""
    template = environment().from_string(asked["template"])
    given = {"messages": asked["messages"], "add_generation_prompt": True, **asked["tokens"]}
    parts, length = [], 0
    for part in template.generate(**given):
        parts.append(part)
        length += len(part)
        if length > asked["longest"]:
            break
    return "".join(parts)[: asked["longest"]]


def main():
    sys.path[:0] = sys.argv[1:]  # where the library is; nothing else of the environment is read
    asked = json.load(sys.stdin)
    import jinja2  # noqa: F401  # before the limits: what it takes is not the template's

    limit(asked["seconds"], asked["memory"])
    try:
        answer = {"text": rendered(asked)}
    except MemoryError:
        answer = {"error": "it takes too much memory"}
    except RecursionError:
        answer = {"error": "it calls itself without end"}
    except Exception as error:
        answer = {"error": (str(error) or type(error).__name__)[:300]}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
