"""completion: a script that lets a shell complete commands and their options."""

import argparse

from quantlib.cli.shared import command

SETUP = {
    "bash": "echo 'source <(quantlib completion bash)' >> ~/.bashrc",
    "zsh": "echo 'source <(quantlib completion zsh)' >> ~/.zshrc",
    "fish": "quantlib completion fish > ~/.config/fish/completions/quantlib.fish",
}
ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"
BASH = """\
_quantlib() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$word")); return
    fi
    case "${{COMP_WORDS[1]}} $before" in
{values}
    esac
    case "$word" in -*) case "${{COMP_WORDS[1]}}" in
{options}
    esac ;; esac
}}
complete -o default -F _quantlib quantlib
"""


def add(commands) -> None:
    sub = command(
        commands, "completion", run, "print a script with which a shell completes commands and options",
        examples=tuple(f"completion {shell}" for shell in SETUP),
    )  # fmt: skip
    sub.add_argument("shell", choices=list(SETUP), help="your shell")
    ways = "\n".join(f"  {shell:4}  {how}" for shell, how in SETUP.items())
    sub.epilog = f"to have it in every new shell:\n{ways}\n\n{sub.epilog}"


def run(options) -> int:
    from quantlib.cli import parsers

    found = {name: _options(parser) for name, parser in parsers(())[1].items()}
    print(_fish(found) if options.shell == "fish" else ZSH * (options.shell == "zsh") + _bash(found), end="")
    return 0


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.option_strings]


def _bash(found: dict[str, list[argparse.Action]]) -> str:
    options, values = [], []
    for name, actions in found.items():
        words = " ".join(word for action in actions for word in action.option_strings)
        options.append(f'        {name}) COMPREPLY=($(compgen -W "{words}" -- "$word")); return ;;')
        for action in actions:
            if action.choices:
                cases = "|".join(f'"{name} {word}"' for word in action.option_strings)
                offered = " ".join(map(str, action.choices))
                values.append(f'        {cases}) COMPREPLY=($(compgen -W "{offered}" -- "$word")); return ;;')
    return BASH.format(commands=" ".join(found), values="\n".join(values), options="\n".join(options))


def _fish(found: dict[str, list[argparse.Action]]) -> str:
    lines = [f"complete -c quantlib -n __fish_use_subcommand -f -a {name}" for name in found]
    for name, actions in found.items():
        for action in actions:
            spelled = " ".join(
                f"-l {word[2:]}" if word.startswith("--") else f"-s {word[1:]}" for word in action.option_strings
            )
            offered = f" -x -a '{' '.join(map(str, action.choices))}'" if action.choices else ""
            lines.append(f"complete -c quantlib -n '__fish_seen_subcommand_from {name}' {spelled}{offered}")
    return "\n".join(lines) + "\n"
