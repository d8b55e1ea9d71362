"""Train the demo model from a folder of books: tokenizer, weights, and the figures of the model card.

    python assets/demo_model/train.py BOOKS [--out assets/demo_model] [--work FOLDER] [--minutes 110] [--onward]

BOOKS holds MANIFEST.tsv (columns `file`, `tier` and `split`, among others) and text/, one UTF-8 file per book,
a blank line between paragraphs, two at a chapter boundary. Needs torch, tokenizers, safetensors and numpy.
--work keeps the tokenized corpus and the last checkpoint; a second call with the same folder goes on from there.
--onward starts from the weights and the tokenizer in --out instead of from scratch: one more stage of training, with a
learning rate that rises and falls again. The model card lists all stages.
"""

import argparse
import csv
import json
import math
import os
import platform
import re
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from card import write_card
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn

VOCAB, HIDDEN, FFN, LAYERS, HEADS, KV_HEADS, CONTEXT = 4096, 256, 768, 8, 4, 2, 512
HEAD_DIM = HIDDEN // HEADS
ROPE_THETA, NORM_EPS = 10_000.0, 1e-5
TEXT_START = "<|endoftext|>"  # stands before every chapter; both BOS and EOS


class RMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(HIDDEN))

    def forward(self, x):
        return F.rms_norm(x, (HIDDEN,), self.weight, NORM_EPS)


def linear(out_features, in_features, std):
    layer = nn.Linear(in_features, out_features, bias=False)
    nn.init.normal_(layer.weight, std=std)
    return layer


class Attention(nn.Module):
    def __init__(self, residual_std):
        super().__init__()
        self.q_proj = linear(HEADS * HEAD_DIM, HIDDEN, 0.03)
        self.k_proj = linear(KV_HEADS * HEAD_DIM, HIDDEN, 0.03)
        self.v_proj = linear(KV_HEADS * HEAD_DIM, HIDDEN, 0.03)
        self.o_proj = linear(HIDDEN, HEADS * HEAD_DIM, residual_std)

    def forward(self, x, cos, sin):
        batch, length, _ = x.shape
        q = self.q_proj(x).view(batch, length, HEADS, HEAD_DIM).transpose(1, 2)
        k = self.k_proj(x).view(batch, length, KV_HEADS, HEAD_DIM).transpose(1, 2)
        v = self.v_proj(x).view(batch, length, KV_HEADS, HEAD_DIM).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k, v = (t.repeat_interleave(HEADS // KV_HEADS, dim=1) for t in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, HIDDEN))


def rotate(x, cos, sin):
    """Rotary position embedding in the Hugging Face pairing: channel i turns with channel i + d/2."""
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1).to(x.dtype)


class MLP(nn.Module):
    def __init__(self, residual_std):
        super().__init__()
        self.gate_proj = linear(FFN, HIDDEN, 0.03)
        self.up_proj = linear(FFN, HIDDEN, 0.03)
        self.down_proj = linear(HIDDEN, FFN, residual_std)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        residual_std = 0.03 / math.sqrt(2 * LAYERS)
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(), RMSNorm()
        self.self_attn, self.mlp = Attention(residual_std), MLP(residual_std)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCAB, HIDDEN)
        nn.init.normal_(self.embed_tokens.weight, std=0.03)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = RMSNorm()


class Llama(nn.Module):
    """The Llama architecture with Hugging Face's parameter names, so that its state dict is the checkpoint."""

    def __init__(self):
        super().__init__()
        self.model = Decoder()
        self.lm_head = linear(VOCAB, HIDDEN, 0.03)
        angle = torch.outer(torch.arange(CONTEXT), ROPE_THETA ** (-torch.arange(0, HEAD_DIM, 2) / HEAD_DIM))
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, tokens, targets):
        x = self.model.embed_tokens(tokens)
        for layer in self.model.layers:
            x = layer(x, self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]])
        logits = self.lm_head(self.model.norm(x))
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def chapters(path):
    """The chapters of a book; each is a text of its own for the model."""
    return [c.strip() for c in re.split(r"\n{3,}", path.read_text(encoding="utf-8")) if c.strip()]


def train_tokenizer(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=[TEXT_START], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    start = tokenizer.token_to_id(TEXT_START)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{TEXT_START} $A", pair=f"{TEXT_START} $A {TEXT_START} $B", special_tokens=[(TEXT_START, start)]
    )
    return tokenizer


def corpus(books, work, tokenizer_file, keep_tokenizer):
    """Token streams of the training and of the held-out books, and the bytes of the latter."""
    cache = work / "corpus.npz"
    if not (cache.exists() and tokenizer_file.exists()):
        with open(books / "MANIFEST.tsv", encoding="utf-8") as manifest:
            rows = list(csv.DictReader(manifest, delimiter="\t", quoting=csv.QUOTE_NONE))
        texts = {
            split: [c for r in rows if r["split"] == split for c in chapters(books / "text" / r["file"])]
            for split in ("train", "valid")
        }
        if keep_tokenizer:
            tokenizer = Tokenizer.from_file(str(tokenizer_file))
        else:
            tokenizer = train_tokenizer(texts["train"])
            tokenizer.save(str(tokenizer_file))
        streams = {
            split: np.concatenate([np.array(e.ids, np.uint16) for e in tokenizer.encode_batch(chapter_list)])
            for split, chapter_list in texts.items()
        }
        valid_bytes = sum(len(c.encode()) for c in texts["valid"])
        np.savez(cache, **streams, valid_bytes=valid_bytes, books=sum(r["split"] == "train" for r in rows))
    return dict(np.load(cache))


def windows(stream, length, seed):
    """Shuffled windows of length + 1 tokens, for ever; each pass cuts the stream at another place."""
    rng = np.random.default_rng(seed)
    while True:
        shift = rng.integers(length)
        starts = np.arange(shift, len(stream) - length - 1, length)
        for start in rng.permutation(starts):
            yield stream[start : start + length + 1].astype(np.int64)


def batches(stream, tokens, length, seed):
    source = windows(stream, length, seed)
    while True:
        block = torch.from_numpy(np.stack([next(source) for _ in range(tokens // length)]))
        yield block[:, :-1], block[:, 1:]


@torch.no_grad()
def held_out_nats(model, stream, device, limit=None):
    """Mean loss per token over consecutive windows of the held-out stream, in nats."""
    starts = list(range(0, len(stream) - CONTEXT - 1, CONTEXT))
    if limit:
        starts = starts[:: max(1, len(starts) // limit)]
    total = 0.0
    for i in range(0, len(starts), 8):
        block = torch.from_numpy(
            np.stack([stream[s : s + CONTEXT + 1].astype(np.int64) for s in starts[i : i + 8]])
        ).to(device)
        total += model(block[:, :-1], block[:, 1:]).item() * len(block)
    return total / len(starts)


FALL = 0.4  # the last part of the schedule, in which the learning rate falls


def learning_rate(progress, peak):
    """Warm up over 2 %, hold, then fall linearly to zero over the last 40 %."""
    return peak * min(1.0, progress / 0.02 + 1e-3, (1.0 - progress) / FALL)


def optimizer_for(model):
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8)


def train(model, data, args, work):
    """Run the schedule; returns the log: one row {step, tokens, minutes, loss, held_out} each eval."""
    device = next(model.parameters()).device
    optimizer, log, step, tokens, spent = optimizer_for(model), [], 0, 0, 0.0
    saved = work / "last.pt"
    if saved.exists():
        state = torch.load(saved, map_location=device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        log, step, tokens, spent = state["log"], state["step"], state["tokens"], state["spent"]
    compiled = torch.compile(model, dynamic=False)  # compiled once for each length of windows
    # Half as long windows cost a fifth less; those of full length, for the far positions, while the rate falls.
    long, short = (batches(data["train"], args.batch, n, args.seed + step) for n in (CONTEXT, CONTEXT // 2))
    bfloat16 = torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bfloat16")
    began, running = time.monotonic(), []
    while True:
        minutes = spent + (time.monotonic() - began) / 60
        progress = max(tokens / args.tokens, minutes / args.minutes)
        logged = bool(log) and log[-1]["step"] == step  # by the run that this one goes on from
        if not logged and (step % args.every == 0 or progress >= 1):
            held = held_out_nats(model, data["valid"], device, limit=64)
            log.append(
                {
                    "step": step,
                    "tokens": tokens,
                    "minutes": round(minutes, 2),
                    "loss": float(np.mean(running or [0])),
                    "held_out": held,
                }
            )
            print(json.dumps(log[-1]), flush=True)
            running = []
            torch.save(
                dict(
                    model=model.state_dict(),
                    optimizer=optimizer.state_dict(),
                    log=log,
                    step=step,
                    tokens=tokens,
                    spent=minutes,
                ),
                work / "next.pt",
            )
            os.replace(work / "next.pt", saved)
        if progress >= 1:
            return log
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress, args.lr)
        inputs, targets = (t.to(device) for t in next(short if progress < 1 - FALL else long))
        with bfloat16:
            loss = compiled(inputs, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        running.append(loss.item())
        step, tokens = step + 1, tokens + targets.numel()


def after(stages, log):
    """The rows of a stage's log, counted on from the stages before it."""
    steps, tokens, minutes = (sum(stage[unit] for stage in stages) for unit in ("steps", "tokens", "minutes"))
    return [
        row | dict(step=row["step"] + steps, tokens=row["tokens"] + tokens, minutes=round(row["minutes"] + minutes, 2))
        for row in log
        if row["step"] or not stages
    ]


def export(model, out):
    """Write the checkpoint in the form transformers reads: BF16 safetensors and its two JSON files."""
    weights = {name: p.detach().to("cpu", torch.bfloat16).contiguous() for name, p in model.state_dict().items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    config = dict(
        architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=FFN,
        num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM, hidden_act="silu",
        max_position_embeddings=CONTEXT, rms_norm_eps=NORM_EPS, rope_theta=ROPE_THETA, attention_bias=False, mlp_bias=False,
        tie_word_embeddings=False, bos_token_id=0, eos_token_id=0, torch_dtype="bfloat16",
    )  # fmt: skip
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tokenizer = dict(
        tokenizer_class="PreTrainedTokenizerFast", bos_token=TEXT_START, eos_token=TEXT_START, add_bos_token=True,
        model_max_length=CONTEXT, clean_up_tokenization_spaces=False,
    )  # fmt: skip
    (out / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("books", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--work", type=Path, default=Path("demo_model_training"))
    parser.add_argument("--tokens", type=float, default=1e9, help="stop after this many training tokens")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="or after this much time, whichever comes first"
    )
    parser.add_argument("--batch", type=int, default=8 * CONTEXT, help="tokens a step")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--every", type=int, default=200, help="steps between evaluations and checkpoints")
    parser.add_argument("--onward", action="store_true", help="start from the weights in --out")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--precision", choices=["bfloat16", "float32"], default="bfloat16" if device.type == "cuda" else "float32"
    )
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    earlier = json.loads((args.out / "training.json").read_text()) if args.onward else {"stages": [], "log": []}
    args.seed = sum(stage["steps"] for stage in earlier["stages"])  # no stage sees the windows in the same order
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    data = corpus(args.books, args.work, args.out / "tokenizer.json", keep_tokenizer=args.onward)
    print(
        f"{len(data['train']):,} training tokens, {len(data['valid']):,} held out ({int(data['valid_bytes']):,} bytes)",
        flush=True,
    )
    model = Llama().to(device)
    if args.onward:
        model.load_state_dict(load_file(args.out / "model.safetensors"))
    log = train(model, data, args, args.work)
    export(model, args.out)
    model.bfloat16().float()  # the figures are those of the weights as stored
    nats = held_out_nats(model, data["valid"], device)
    tokens, valid_bytes = len(data["valid"]), int(data["valid_bytes"])
    stage = dict(
        steps=log[-1]["step"], tokens=log[-1]["tokens"], minutes=log[-1]["minutes"], batch_tokens=args.batch,
        peak_learning_rate=args.lr, precision=args.precision, device=str(device), threads=torch.get_num_threads(),
        machine=platform.machine(), torch=torch.__version__,
    )  # fmt: skip
    report = dict(
        parameters=sum(p.numel() for p in model.parameters()), training_books=int(data["books"]), corpus_tokens=len(data["train"]),
        held_out_tokens=tokens, held_out_bytes=valid_bytes, held_out_nats_per_token=round(nats, 4),
        held_out_bits_per_byte=round(nats / math.log(2) * tokens / valid_bytes, 4),
        stages=[*earlier["stages"], stage], log=[*earlier["log"], *after(earlier["stages"], log)],
    )  # fmt: skip
    (args.out / "training.json").write_text(json.dumps(report, indent=1) + "\n")
    write_card(args.out)
    print(json.dumps({k: v for k, v in report.items() if k != "log"}), flush=True)


if __name__ == "__main__":
    main()
