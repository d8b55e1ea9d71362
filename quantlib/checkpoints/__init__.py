"""Where tensors live: safetensors files, Hugging Face folders and GGUF files, opened lazily and trusted in nothing."""

from quantlib.checkpoints.adapters import merged
from quantlib.checkpoints.base import Checkpoint, MappedFile, MetadataValue, Tensor
from quantlib.checkpoints.gguf_file import open_gguf
from quantlib.checkpoints.gguf_types import QUANTIZATION_VERSION
from quantlib.checkpoints.gguf_writer import (
    GGUFWriter,
    Layout,
    TensorInfo,
    gguf_layout,
    gguf_size,
    write_gguf,
)
from quantlib.checkpoints.halves import PART, vision_half
from quantlib.checkpoints.imatrix import ImportanceMatrix, ImportanceSums, read_imatrix, write_imatrix
from quantlib.checkpoints.modelfile import modelfile
from quantlib.checkpoints.opening import open_checkpoint
from quantlib.checkpoints.safetensors_file import open_safetensors
from quantlib.checkpoints.view import gguf_view
from quantlib.errors import CheckpointError

__all__ = [
    "PART",
    "QUANTIZATION_VERSION",
    "Checkpoint",
    "CheckpointError",
    "GGUFWriter",
    "ImportanceMatrix",
    "ImportanceSums",
    "Layout",
    "MappedFile",
    "MetadataValue",
    "Tensor",
    "TensorInfo",
    "gguf_layout",
    "gguf_size",
    "gguf_view",
    "merged",
    "modelfile",
    "open_checkpoint",
    "open_gguf",
    "open_safetensors",
    "read_imatrix",
    "vision_half",
    "write_gguf",
    "write_imatrix",
]
