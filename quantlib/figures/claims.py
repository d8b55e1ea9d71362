"""Things commonly said of quantization, each with its verdict; and where the usual account's claims are answered."""

from collections.abc import Callable
from dataclasses import dataclass

from quantlib.checkpoints import Checkpoint
from quantlib.figures import evidence
from quantlib.figures.evidence import Evidence

TRUE, FALSE, NOT_SHOWN = "true", "false", "nobody has shown it"
VERDICTS = (TRUE, FALSE, NOT_SHOWN)


@dataclass(frozen=True)
class Claim:
    """A sentence that people say, the verdict, and the function that gathers the evidence from a checkpoint."""

    key: str
    text: str
    verdict: str
    evidence: Callable[[Checkpoint], Evidence]


CLAIMS = (
    Claim("bits", "Q2_K stores two bits for each weight.", FALSE, evidence.q2_k),
    Claim("faster", "A model writes faster in fewer bits because fewer bytes are read.", TRUE, evidence.faster),
    Claim("letters", "_S, _M and _L say how precise the scales are.", FALSE, evidence.letters),
    Claim("still", "Perplexity can hardly move while answers change.", TRUE, evidence.perplexity_stands_still),
    Claim("lossless", "Q8_0 is lossless.", FALSE, evidence.lossless),
    Claim("decibels", "Each bit less doubles the error of the weights.", TRUE, evidence.six_decibels),
    Claim("table", "Llama 3 70B loses 0.1 to 0.2 of perplexity in Q4_K_M, and 1 or more in Q2_K.", NOT_SHOWN,
          evidence.seventy_table),
    Claim("seventy", "A model of 70 billion weights needs 280 GB in 32 bits.", TRUE, evidence.seventy),
    Claim("range", "BF16 is the better 16-bit format for weights, because of its range.", FALSE,
          evidence.bf16_for_range),
    Claim("importance", "An importance matrix helps k-quants too.", TRUE, evidence.importance),
    Claim("processors", "Models quantized by GPTQ or AWQ cannot run on a CPU.", FALSE, evidence.processors),
    Claim("iq4", "IQ4_XS comes close to Q4_K_M and is smaller.", TRUE, evidence.iq4_xs),
    Claim("zero", "A zero point and a minimum are two names for one thing.", FALSE, evidence.zero_point),
    Claim("tuned", "Instruction-tuned models stand quantization better than base models.", NOT_SHOWN, evidence.tuned),
)  # fmt: skip


@dataclass(frozen=True)
class Said:
    """A claim of the account that most people have read: its verdict in words, and the chapters that answer it.

    chapters: files in `pages/`, without their ending; key: the card that shows it, if one does.
    """

    text: str
    verdict: str
    chapters: tuple[str, ...]
    key: str = ""


ACCOUNT = (
    Said("A 70B model in FP32 takes 280 GB.", "true", ("home", "claims"), "seventy"),
    Said("FP32 covers about 80 powers of ten with about 7 digits.", "true", ("float",)),
    Said("BF16 is preferable for weights because its range covers outliers.",
         "half: weights seldom need the range; training does", ("float", "claims"), "range"),
    Said("Scales can be symmetric or asymmetric, per tensor or per channel.", "true", ("levels",)),
    Said("Errors of INT4 accumulate through the layers.", "shown by measurement", ("levels", "cost")),
    Said("Llama 3 70B has about 4.5 perplexity, and TheBloke measured what recipes add.", "no source found",
         ("cost", "claims"), "table"),
    Said("The number in a name is the bits on average.", "nearly: Q4_K_M takes 4.9", ("names",), "bits"),
    Said("K-quants came in late 2023.", "no: June 2023 (llama.cpp, pull request 1684)", ("names",)),
    Said("S, M and L are the bits of the scales.", "false: mixtures of formats over tensors", ("names", "claims"),
         "letters"),
    Said("In IQ formats importance decides the bits of each weight.",
         "false: they are codebooks; an importance matrix steers any format", ("codebooks", "claims"), "importance"),
    Said("IQ4_XS can match Q4_K_M.", "nearly: KL 0.036 against 0.028 nats", ("fit", "claims"), "iq4"),
    Said("GPTQ moves later weights to make up for errors; AWQ protects important channels.", "true", ("rounding",)),
    Said("GPTQ and AWQ models cannot run on a CPU.", "false", ("fit", "claims"), "processors"),
    Said("Blocks of 32 suit a processor's vector instructions.", "true", ("machine",)),
    Said("LLM.int8() keeps outlier channels in 16 bits; SmoothQuant moves them into the weights.", "true",
         ("activations",)),
    Said("Q8_0 is essentially lossless.", "nearly: 2.3 % of the likeliest tokens change", ("cost", "claims"),
         "lossless"),
    Said("Tuned models are sturdier, and code degrades faster than prose.", "not shown in general",
         ("cost", "claims"), "tuned"),
    Said("AutoAWQ and auto-gptq are well supported.", "no longer: both are deprecated", ("fit",)),
    Said("Averages hide the tail, and the edge of knowledge goes first.", "true, shown by sums", ("cost",), "still"),
)  # fmt: skip


def score(guesses: dict[str, str | None]) -> tuple[int, int]:
    """Right guesses, and guesses; keys of claims that nobody guessed are None or missing, or hold another word."""
    said = {c.key: c for c in CLAIMS if guesses.get(c.key) in VERDICTS}
    return sum(guesses[key] == claim.verdict for key, claim in said.items()), len(said)


def lessons() -> tuple[str, str, str]:
    """What the chapter teaches, counted from the claims."""
    counts = {verdict: sum(c.verdict == verdict for c in CLAIMS) for verdict in VERDICTS}
    return (
        f"Of {len(CLAIMS)} things commonly said, {counts[TRUE]} are true, {counts[FALSE]} are false, and "
        f"{counts[NOT_SHOWN]} have not been shown by anybody.",
        "A name says which format most tensors have. It says neither the bits of the whole nor the error.",
        "Fewer bytes to read make writing faster, down to about four bits. Below that it hardly helps.",
    )
