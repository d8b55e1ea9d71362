"""Train the calculator: a small Llama that answers sums.

    python assets/calculator/train.py [--out assets/calculator] [--work FOLDER] [--minutes 75]

Needs torch besides the project's own requirements. --work keeps the last state; a second call with the same folder goes
on from there. The weights are written in FP32, as they were trained.
"""

import argparse
import json
import math
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from quantlib.lm.sums import ALPHABET, Grade

END = "<|end|>"  # starts and ends every sum
VOCAB = [END, *ALPHABET]
TOKEN = {token: i for i, token in enumerate(VOCAB)}
HIDDEN, FFN, LAYERS, HEADS, KV_HEADS, CONTEXT = 256, 512, 3, 4, 2, 32
HEAD_DIM, ROPE_THETA, NORM_EPS = HIDDEN // HEADS, 10_000.0, 1e-5
CHUNKS = 4  # a batch is cut into so many by length, so that little is padding

# What is practised, and how often. Products of two digits by two are the hardest: there are 8,100 of them, and no short
# way to their middle digits.
MIX = [
    *[(Grade("", (d, d), "+"), 0.03) for d in range(1, 7)],
    *[(Grade("", (a, b), "+"), 0.004) for a in range(1, 7) for b in range(1, 7) if a != b],
    *[(Grade("", (d, d), "-"), 0.04) for d in range(1, 4)],
    *[(Grade("", d, "x"), 0.03) for d in [(1, 1), (2, 1), (1, 2)]],
    *[(Grade("", d, "x"), 0.08) for d in [(3, 1), (1, 3)]],
    (Grade("", (2, 2), "x"), 0.33),
]


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        kv = KV_HEADS * HEAD_DIM
        sizes = dict(q_proj=(HIDDEN, HIDDEN), k_proj=(kv, HIDDEN), v_proj=(kv, HIDDEN), o_proj=(HIDDEN, HIDDEN))
        self.self_attn = nn.ModuleDict({name: nn.Linear(i, o, bias=False) for name, (o, i) in sizes.items()})
        sizes = dict(gate_proj=(FFN, HIDDEN), up_proj=(FFN, HIDDEN), down_proj=(HIDDEN, FFN))
        self.mlp = nn.ModuleDict({name: nn.Linear(i, o, bias=False) for name, (o, i) in sizes.items()})
        self.input_layernorm = nn.RMSNorm(HIDDEN, NORM_EPS)
        self.post_attention_layernorm = nn.RMSNorm(HIDDEN, NORM_EPS)

    def forward(self, x, cos, sin):
        h, (batch, length, _) = self.input_layernorm(x), x.shape
        q, k, v = (
            self.self_attn[name](h).view(batch, length, -1, HEAD_DIM).transpose(1, 2)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        mixed = F.scaled_dot_product_attention(
            rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True, enable_gqa=True
        )
        x = x + self.self_attn["o_proj"](mixed.transpose(1, 2).reshape(batch, length, HIDDEN))
        h = self.post_attention_layernorm(x)
        return x + self.mlp["down_proj"](F.silu(self.mlp["gate_proj"](h)) * self.mlp["up_proj"](h))


def rotate(x, cos, sin):
    """Rotary position embedding in the Hugging Face pairing: channel i turns with channel i + d/2."""
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)


class Calculator(nn.Module):
    """The Llama architecture with Hugging Face's parameter names, so that its state dict is the checkpoint."""

    def __init__(self):
        super().__init__()
        layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        parts = dict(embed_tokens=nn.Embedding(len(VOCAB), HIDDEN), layers=layers, norm=nn.RMSNorm(HIDDEN, NORM_EPS))
        self.model = nn.ModuleDict(parts)
        self.lm_head = nn.Linear(HIDDEN, len(VOCAB), bias=False)
        for matrix in (p for p in self.parameters() if p.ndim == 2):
            nn.init.normal_(matrix, std=0.03)
        angle = torch.outer(torch.arange(CONTEXT), ROPE_THETA ** (-torch.arange(0, HEAD_DIM, 2) / HEAD_DIM))
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, tokens):
        x = self.model["embed_tokens"](tokens)
        for layer in self.model["layers"]:
            x = layer(x, self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]])
        return self.lm_head(self.model["norm"](x))


def batch(rng, count):
    """Chunks of a batch of sums, each (tokens, targets) (sums, longest); only answers and ends are targets."""
    shares = np.array([share for _, share in MIX])
    drawn = rng.multinomial(count, shares / shares.sum())
    rows = []
    for (grade, _), n in zip(MIX, drawn, strict=True):
        for one in grade.draw(rng, int(n)):
            question = [TOKEN[END], *(TOKEN[c] for c in one.question)]
            rows.append((question, [*(TOKEN[c] for c in one.answer), TOKEN[END]]))
    rows.sort(key=lambda row: len(row[0]) + len(row[1]))
    for some in (rows[i * count // CHUNKS : (i + 1) * count // CHUNKS] for i in range(CHUNKS)):
        longest = max(len(q) + len(a) for q, a in some)
        tokens = np.zeros((len(some), longest), np.int64)
        targets = np.full((len(some), longest), -100, np.int64)
        for i, (question, answer) in enumerate(some):
            whole = question + answer
            tokens[i, : len(whole)] = whole
            targets[i, len(question) - 1 : len(whole) - 1] = answer
        yield torch.from_numpy(tokens), torch.from_numpy(targets)


def learning_rate(progress, peak):
    """Warm up over 2 %, hold, then fall linearly to zero over the last half."""
    return peak * min(1.0, progress / 0.02 + 1e-3, (1.0 - progress) / 0.5)


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal before each step (Jordan et al., 2024).

    torch's own does so in bfloat16, which a processor without such arithmetic computes ten times slower than float32.
    """

    def __init__(self, matrices, momentum=0.95, weight_decay=0.05):
        super().__init__(matrices, dict(lr=0.0, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for shape in {p.shape for p in group["params"]}:
                same = [p for p in group["params"] if p.shape == shape]
                for p in same:
                    mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                    mean.lerp_(p.grad, 1 - group["momentum"])
                steps = [p.grad.lerp(self.state[p]["mean"], group["momentum"]) for p in same]
                rate = group["lr"] * 0.2 * math.sqrt(max(shape))  # as large a step as AdamW's
                for p, step in zip(same, orthogonal(torch.stack(steps)), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step, alpha=rate)


def orthogonal(x):
    """Each matrix of (n, rows, columns) with its singular values moved to about 1, by Newton and Schulz."""
    wide = x.shape[1] <= x.shape[2]
    x = x if wide else x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for a, b, c in [(3.4445, -4.7750, 2.0315)] * 5:
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide else x.mT


def optimizers_for(model):
    inner = [p for n, p in model.named_parameters() if p.ndim == 2 and "layers" in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "layers" not in n]
    return [Muon(inner), torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0)]


@torch.no_grad()
def held_out(model, seed=1):
    """The share of answers that are wholly right, by sign and digits, on fresh sums."""
    rng, shares = np.random.default_rng(seed), {}
    for grade, _ in MIX:
        if grade.digits[0] == grade.digits[1] or grade.sign == "x":
            sums = grade.draw(rng, 200)
            right = 0
            for one in sums:
                question = [TOKEN[END], *(TOKEN[c] for c in one.question)]
                answer = [*(TOKEN[c] for c in one.answer), TOKEN[END]]
                found = model(torch.tensor([question + answer[:-1]]))[0, len(question) - 1 :].argmax(-1)
                right += found.tolist() == answer
            shares[f"{grade.digits[0]}{grade.sign}{grade.digits[1]}"] = right / len(sums)
    return shares


def train(model, args):
    """Run the schedule; returns the log, one row each `--every` steps."""
    optimizers, log, step, spent = optimizers_for(model), [], 0, 0.0
    saved = args.work / "last.pt"
    if saved.exists():
        state = torch.load(saved)
        model.load_state_dict(state["model"])
        for optimizer, values in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        log, step, spent = state["log"], state["step"], state["spent"]
    rng, began, running = np.random.default_rng(1000 + step), time.monotonic(), []
    while True:
        minutes = spent + (time.monotonic() - began) / 60
        progress = minutes / args.minutes
        if progress >= 1 or (step and step % args.every == 0):
            log.append(dict(step=step, minutes=round(minutes, 2), loss=float(np.mean(running)), right=held_out(model)))
            print(json.dumps(log[-1]), flush=True)
            running = []
            state = dict(model=model.state_dict(), log=log, step=step, spent=minutes)
            torch.save(state | dict(optimizers=[o.state_dict() for o in optimizers]), args.work / "next.pt")
            os.replace(args.work / "next.pt", saved)
        if progress >= 1:
            return log
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(progress, args.lr)
        chunks = list(batch(rng, args.batch))
        count = sum(int((targets >= 0).sum()) for _, targets in chunks)
        total = 0.0
        for tokens, targets in chunks:
            loss = F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten(), reduction="sum") / count
            loss.backward()
            total += loss.item()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        running.append(total)
        step += 1


def export(model, out):
    """Write the checkpoint in the form transformers reads: FP32 safetensors, its configuration and its tokenizer."""
    weights = {name: p.detach().contiguous() for name, p in model.state_dict().items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    config = dict(
        architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=len(VOCAB), hidden_size=HIDDEN,
        intermediate_size=FFN, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS,
        head_dim=HEAD_DIM, hidden_act="silu", max_position_embeddings=CONTEXT, rms_norm_eps=NORM_EPS,
        rope_theta=ROPE_THETA, attention_bias=False, mlp_bias=False, tie_word_embeddings=False, bos_token_id=0,
        eos_token_id=0, torch_dtype="float32",
    )  # fmt: skip
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    settings = dict(
        tokenizer_class="PreTrainedTokenizerFast", bos_token=END, eos_token=END, add_bos_token=True,
        model_max_length=CONTEXT, clean_up_tokenization_spaces=False,
    )  # fmt: skip
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (out / "tokenizer.json").write_text(json.dumps(tokenizer(), indent=1) + "\n")


def tokenizer():
    """A byte-level BPE without a merge: every character is a token."""
    level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)
    start = dict(id=0, content=END, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    template = dict(
        type="TemplateProcessing",
        single=[{"SpecialToken": dict(id=END, type_id=0)}, {"Sequence": dict(id="A", type_id=0)}],
        pair=[{"Sequence": dict(id="A", type_id=0)}, {"Sequence": dict(id="B", type_id=0)}],
        special_tokens={END: dict(id=END, ids=[0], tokens=[END])},
    )
    model = dict(type="BPE", dropout=None, unk_token=None, vocab=TOKEN, merges=[])
    return dict(
        version="1.0", truncation=None, padding=None, added_tokens=[start], normalizer=None, pre_tokenizer=level,
        post_processor=template, decoder=level, model=model,
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--work", type=Path, default=Path("calculator_training"))
    parser.add_argument("--minutes", type=float, default=75)
    parser.add_argument("--batch", type=int, default=384, help="sums a step")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--every", type=int, default=200, help="steps between evaluations and checkpoints")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    model = Calculator()
    log = train(model, args)
    export(model, args.out)
    report = dict(
        parameters=sum(p.numel() for p in model.parameters()), steps=log[-1]["step"], minutes=log[-1]["minutes"],
        batch_sums=args.batch, peak_learning_rate=args.lr, optimizer="Muon for layers' matrices, AdamW for the rest",
        threads=torch.get_num_threads(), machine=platform.machine(), torch=torch.__version__, log=log,
    )  # fmt: skip
    (args.out / "training.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
