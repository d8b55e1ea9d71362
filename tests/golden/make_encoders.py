"""Makes `arch/encoders.npz` again: what transformers computes in float32 of the tiny encoders.

    pip install torch==2.13.0 'transformers>=5.20,<6'
    python tests/golden/make_encoders.py [--check]

For each model the last layer's vectors of the first, a middle and the last token of 200: float32 (3, width). --check
writes nothing and says whether anything would differ.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from making_again import Arrays, make_again

ARCH = Path(__file__).with_name("arch")
sys.path.insert(0, str(ARCH.parents[1]))  # the tests' helpers
CLASSES = {"t5": "T5EncoderModel", "nomic_bert": "NomicBertModel", "modernbert": "ModernBertModel"}


def as_transformers_says_it(config: dict) -> dict:
    """The config.json of Nomic's own code in the words of transformers."""
    rope = {"rope_type": "default", "rope_theta": float(config["rotary_emb_base"])}
    return {
        "model_type": "nomic_bert", "architectures": ["NomicBertModel"], "hidden_act": "silu", "rope_parameters": rope,
        "hidden_size": config["n_embd"], "num_hidden_layers": config["n_layer"], "intermediate_size": config["n_inner"],
        "num_attention_heads": config["n_head"], "max_position_embeddings": config["max_trained_positions"],
        "layer_norm_eps": config["layer_norm_epsilon"],
        **{key: config[key] for key in ("vocab_size", "type_vocab_size")},
    }  # fmt: skip


def computed(name: str) -> np.ndarray:
    import arch_models
    import torch
    import transformers

    with tempfile.TemporaryDirectory() as folder:
        path = arch_models.write(name, Path(folder) / "model")
        config = json.loads((path / "config.json").read_text())
        if config["model_type"] == "nomic_bert":
            (path / "config.json").write_text(json.dumps(as_transformers_says_it(config)))
        kind = getattr(transformers, CLASSES[config["model_type"]])
        model = kind.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
        tokens = torch.tensor(arch_models.encoder_tokens(name)[None])
        with torch.no_grad():
            hidden = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state[0].numpy()
    return hidden[[0, 99, 199]]


def encoders(given: Arrays) -> Arrays:
    return {name: computed(name) for name in given}


if __name__ == "__main__":
    sys.exit(make_again(ARCH, {"encoders.npz": encoders}, "--check" in sys.argv))
