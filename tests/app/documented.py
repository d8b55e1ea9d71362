"""The commands of SERVING.md and of the Dockerfile, as they stand there."""

import json
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVING = (ROOT / "SERVING.md").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def commands(text: str = SERVING) -> list[str]:
    """Every command of the text's blocks, each on one line."""
    fences = re.split(r"^```(.*)$", text, flags=re.MULTILINE)  # text, a fence's word, the block, an end, and again
    blocks = [block for word, block in zip(fences[1::4], fences[2::4], strict=True) if not word]
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def served() -> dict[str, str]:
    """The commands that start a server, by the section they stand in, with a number where it has several."""
    found: dict[str, str] = {}
    for section in re.split(r"^## ", SERVING, flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        for number, command in enumerate(c for c in commands(section) if " streamlit run " in c):
            found[title if not number else f"{title} {number + 1}"] = command
    found["A container's CMD"] = container_command()
    return found


def instructions(name: str) -> list[str]:
    """What follows an instruction in the Dockerfile, each time it is there."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [line.split(None, 1)[1] for line in text.splitlines() if line.startswith(f"{name} ")]


def docker_run() -> list[str]:
    """The words of the documented `docker run`."""
    (found,) = [shlex.split(c) for c in commands() if c.startswith("docker run")]
    return found


def container_command() -> str:
    """The container's CMD with the settings that `docker run` gives it, as a shell would say it."""
    words = docker_run()
    settings = [words[at + 1].partition("=") for at, word in enumerate(words) if word == "--env"]
    assignments = [f"{name}={shlex.quote(value)}" for name, _, value in settings]
    return " ".join([*assignments, shlex.join(json.loads(instructions("CMD")[0]))])


def hosts(command: str) -> list[str]:
    """The names by which a command's server may be reached; the machine's own where it names none."""
    said = re.findall(r"--server\.allowedHosts[ =](\S+)", command)
    said += [h for found in re.findall(r"STREAMLIT_SERVER_ALLOWED_HOSTS='([^']*)'", command) for h in found.split()]
    return said or ["127.0.0.1"]


def prefix(command: str) -> str:
    """The path under which a command's server is reached."""
    return "".join(f"/{path}" for path in re.findall(r"--server\.baseUrlPath[ =](\S+)", command))
