"""The architectures that are known, each a value: what converts, runs and folds is derived from these."""

from collections.abc import Callable

from quantlib.architectures.computation import Computation
from quantlib.architectures.config import Config
from quantlib.architectures.declaration import Architecture
from quantlib.architectures.families.bert import BERT, BERT_CLASSIFIER, MODERN_BERT, NOMIC_BERT, XLM_ROBERTA
from quantlib.architectures.families.deepseek import DEEPSEEK_V2, DEEPSEEK_V3
from quantlib.architectures.families.falcon_h1 import FALCON_H1
from quantlib.architectures.families.gemma import GEMMA, GEMMA2, GEMMA3, GEMMA3_WHOLE
from quantlib.architectures.families.gemma3n import GEMMA3N, GEMMA3N_TEXT
from quantlib.architectures.families.gemma4 import GEMMA4, GEMMA4_TEXT
from quantlib.architectures.families.glm import GLM4, GLM4_MOE
from quantlib.architectures.families.gpt2 import GPT2
from quantlib.architectures.families.gpt_oss import GPT_OSS
from quantlib.architectures.families.granite import GRANITE, GRANITE_HYBRID, GRANITE_MOE, GRANITE_MOE_SHARED
from quantlib.architectures.families.latents import DEEPSEEK_V32, GLM4_MOE_LITE, GLM5
from quantlib.architectures.families.lfm2 import LFM2
from quantlib.architectures.families.llama import LLAMA, MISTRAL, MIXTRAL, SMOLLM3
from quantlib.architectures.families.llama4 import LLAMA4, LLAMA4_TEXT
from quantlib.architectures.families.mamba import MAMBA2
from quantlib.architectures.families.mistral import MINISTRAL3, MISTRAL3
from quantlib.architectures.families.nemotron import NEMOTRON_H
from quantlib.architectures.families.olmo import OLMO2, OLMO3
from quantlib.architectures.families.others import (
    COHERE2,
    ERNIE,
    EXAONE4,
    GPT_NEOX,
    HUNYUAN,
    MINIMAX_M2,
    STARCODER2,
)
from quantlib.architectures.families.phi import PHI3
from quantlib.architectures.families.qwen import QWEN2, QWEN2_MOE, QWEN3, QWEN3_MOE
from quantlib.architectures.families.qwen_next import (
    QWEN3_5,
    QWEN3_5_MOE,
    QWEN3_5_MOE_TEXT,
    QWEN3_5_TEXT,
    QWEN3_NEXT,
)
from quantlib.architectures.families.qwen_vl import QWEN2_5_VL, QWEN2_VL, QWEN3_VL, QWEN3_VL_MOE
from quantlib.architectures.families.requantized import REQUANTIZED, Requantized
from quantlib.architectures.families.t5 import MT5, T5, T5_ENCODER, UMT5, UMT5_ENCODER
from quantlib.architectures.keeping import USUAL, Keeping
from quantlib.architectures.quantizing import AS_USUAL, Rules

KNOWN = (
    LLAMA,
    MISTRAL,
    MIXTRAL,
    SMOLLM3,
    QWEN2,
    QWEN2_MOE,
    QWEN3,
    QWEN3_MOE,
    QWEN3_NEXT,
    QWEN3_5,
    QWEN3_5_MOE,
    QWEN3_5_TEXT,
    QWEN3_5_MOE_TEXT,
    QWEN2_VL,
    QWEN2_5_VL,
    QWEN3_VL,
    QWEN3_VL_MOE,
    GEMMA2,
    GEMMA3,
    GEMMA3_WHOLE,
    PHI3,
    OLMO2,
    OLMO3,
    DEEPSEEK_V3,
    DEEPSEEK_V2,
    DEEPSEEK_V32,
    GEMMA,
    GLM4,
    GLM4_MOE,
    GLM4_MOE_LITE,
    GLM5,
    GPT_OSS,
    GRANITE,
    GRANITE_MOE,
    GRANITE_MOE_SHARED,
    GRANITE_HYBRID,
    MAMBA2,
    NEMOTRON_H,
    FALCON_H1,
    MISTRAL3,
    MINISTRAL3,
    GEMMA3N,
    GEMMA3N_TEXT,
    GEMMA4,
    GEMMA4_TEXT,
    LFM2,
    LLAMA4,
    LLAMA4_TEXT,
    COHERE2,
    ERNIE,
    EXAONE4,
    GPT_NEOX,
    HUNYUAN,
    MINIMAX_M2,
    STARCODER2,
    GPT2,
    BERT,
    BERT_CLASSIFIER,
    XLM_ROBERTA,
    NOMIC_BERT,
    MODERN_BERT,
    T5,
    T5_ENCODER,
    MT5,
    UMT5,
    UMT5_ENCODER,
)
ARCHITECTURES = {architecture.model_type: architecture for architecture in reversed(KNOWN)}
PLAIN = LLAMA  # whose names of tensors a file without a config.json is taken to have

# The first of a name stands for it; names that models of some numbers have come after those that all have.
_BY_NAME = {
    **{name: architecture for architecture in reversed(KNOWN) for name in architecture.variants},
    **{architecture.name: architecture for architecture in reversed(KNOWN)},
}
_TREATED: dict[str, Architecture | Requantized] = {
    **{each.name: each for each in REQUANTIZED},
    **_BY_NAME,
}
RUNNABLE = tuple(dict.fromkeys(architecture.name for architecture in KNOWN if architecture.runs))


def by_name(name: str | None) -> Architecture | None:
    """The architecture that GGUF calls so; None where none is declared."""
    return _BY_NAME.get(name or "")


def rules_of(name: str | None) -> Rules:
    """How llama-quantize chooses for the tensors of an architecture, by GGUF's name of it; as usual for others."""
    found = _TREATED.get(name or "")
    return found.rules if found else AS_USUAL


def keeping_of(name: str | None) -> Keeping:
    """What llama.cpp keeps of a conversation, by GGUF's name of the architecture; the usual for others."""
    found = _TREATED.get(name or "")
    return found.keeps if found else USUAL


def titles(holds: Callable[[Rules], bool]) -> list[str]:
    """What messages call the architectures whose rules say so."""
    return [each.title for each in _TREATED.values() if holds(each.rules)]


def prefixes() -> list[str]:
    """What may stand before the names of a model's tensors, part by part, as "model" and "language_model" do."""
    stated = (prefix for each in (*KNOWN, *REQUANTIZED) for prefix in each.prefixes)
    return sorted({part for prefix in stated for part in prefix.split(".") if part})


def by_config(model_type: str | None, name: str | None = None) -> Architecture | None:
    """The architecture of a config.json, by its model_type and the first of its architectures; None where unknown."""
    known = (each for each in KNOWN if each.model_type == model_type)
    return next((each for each in known if name is None or name in each.classes), None)


__all__ = [
    "ARCHITECTURES",
    "KNOWN",
    "PLAIN",
    "RUNNABLE",
    "Architecture",
    "Computation",
    "Config",
    "by_config",
    "by_name",
    "keeping_of",
    "prefixes",
    "rules_of",
    "titles",
]
