"""The architectures that are converted to GGUF, each a value."""

from quantlib.checkpoints.convert.architectures.gemma import GEMMA2, GEMMA3, GEMMA3_WHOLE
from quantlib.checkpoints.convert.architectures.llama import LLAMA, MISTRAL, MIXTRAL, SMOLLM3
from quantlib.checkpoints.convert.architectures.others import BERT, GPT2, OLMO2, PHI3
from quantlib.checkpoints.convert.architectures.qwen import QWEN2, QWEN2_MOE, QWEN3, QWEN3_MOE

ARCHITECTURES = {
    architecture.model_type: architecture
    for architecture in (
        LLAMA,
        MISTRAL,
        MIXTRAL,
        SMOLLM3,
        QWEN2,
        QWEN2_MOE,
        QWEN3,
        QWEN3_MOE,
        GEMMA2,
        GEMMA3,
        GEMMA3_WHOLE,
        PHI3,
        OLMO2,
        GPT2,
        BERT,
    )
}

__all__ = ["ARCHITECTURES", "LLAMA"]
