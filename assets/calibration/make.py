"""Let the demo model write the longer calibration text: `python assets/calibration/make.py`, some minutes.

Methods that fit codes to a text need more of it than `mixed.txt` has: 2,048 tokens are fewer than three for each input
of the widest matrix. What a model writes by itself, drawn from its own predictions, is such a text, and none of it is
in the texts that the model is judged on. Another processor may round otherwise and so write another text.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import quantlib as ql  # noqa: E402
from quantlib.lm import GENERATED, Tokenizer, load  # noqa: E402
from quantlib.lm.generation import generate  # noqa: E402

PIECES, TOKENS, TEMPERATURE = 32, 511, 1.0

if __name__ == "__main__":
    checkpoint = ql.open_checkpoint(ROOT / "assets" / "demo_model")
    model, tokenizer = load(checkpoint), Tokenizer.of(checkpoint)
    pieces = [generate(model, [tokenizer.bos], TOKENS, TEMPERATURE, seed) for seed in range(PIECES)]
    texts = (tokenizer.decode(list(p)).replace("\ufffd", "").strip() for p in pieces)  # a character may be half written
    GENERATED.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    print(GENERATED.relative_to(ROOT))
