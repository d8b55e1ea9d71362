"""Rules and recipes as values."""

from dataclasses import dataclass

from quantlib import formats
from quantlib.recipes.conditions import When
from quantlib.recipes.roles import Role


@dataclass(frozen=True)
class Rule:
    """Tensors of these roles, at places where the condition holds, get this format."""

    format: str
    when: When
    roles: frozenset[Role]


@dataclass(frozen=True)
class Recipe:
    """A named mixture of formats.

    file_type: what GGUF's general.file_type says of it. output: the format of the output matrix (of the embedding
    where the two are one), where it is not the default. rules: the first that holds decides; else the default.
    needs_imatrix: formats that it gives to a matrix only with an importance matrix.
    """

    name: str
    file_type: int
    default: str
    summary: str
    output: str | None = None
    rules: tuple[Rule, ...] = ()
    needs_imatrix: frozenset[str] = frozenset()

    @property
    def quantizes(self) -> bool:
        """Whether it does more than convert between float formats."""
        return formats.get(self.default).kind != "float"

    @property
    def needs_importance(self) -> bool:
        """Whether it gives matrices a format that needs an importance matrix."""
        return bool(self.formats & self.needs_imatrix)

    @property
    def formats(self) -> set[str]:
        """Every format that it names."""
        return {self.default, *(rule.format for rule in self.rules)} | ({self.output} if self.output else set())
