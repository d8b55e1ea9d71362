"""What others have measured or stated, as data with its source: nothing in this file was measured here."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Quality:
    """What a recipe cost Llama-3-8B. gib: the file; delta: perplexity added to FP16's 6.2332; kl: mean KL divergence.

    imatrix: whether an importance matrix was used.
    """

    recipe: str
    imatrix: bool
    gib: float
    delta: float
    delta_error: float
    kl: float


QUALITY_SOURCE = (
    "llama.cpp, tools/perplexity/README.md, “LLaMA 3 8b Scoreboard”: Wikitext-2 test set, revision f364eb6f, CUDA"
)
LLAMA_3_8B = (
    Quality("F16", False, 14.97, 0.001524, 0.000755, 0.000551),
    Quality("Q8_0", False, 7.96, 0.002650, 0.001006, 0.001355),
    Quality("Q6_K", False, 6.14, 0.021748, 0.001852, 0.005452),
    Quality("Q5_K_M", False, 5.33, 0.056974, 0.002598, 0.010762),
    Quality("Q5_K_S", False, 5.21, 0.104964, 0.003331, 0.016595),
    Quality("Q5_1", False, 5.65, 0.106223, 0.003476, 0.018045),
    Quality("Q5_0", False, 5.21, 0.131591, 0.003894, 0.022239),
    Quality("Q4_K_M", True, 4.58, 0.151303, 0.004429, 0.028152),
    Quality("Q4_K_M", False, 4.58, 0.175482, 0.004620, 0.031273),
    Quality("Q4_K_S", True, 4.37, 0.178064, 0.004744, 0.031951),
    Quality("IQ4_NL", True, 4.35, 0.223959, 0.005201, 0.035742),
    Quality("IQ4_XS", True, 4.14, 0.228071, 0.005207, 0.036334),
    Quality("Q4_K_S", False, 4.37, 0.268895, 0.005638, 0.043136),
    Quality("Q4_1", False, 4.78, 0.451103, 0.008030, 0.071683),
    Quality("Q4_0", False, 4.34, 0.468514, 0.007951, 0.071940),
    Quality("Q3_K_L", True, 4.03, 0.439590, 0.008154, 0.073077),
    Quality("Q3_K_M", True, 3.74, 0.502622, 0.008901, 0.084358),
    Quality("Q3_K_L", False, 4.03, 0.556242, 0.009171, 0.087176),
    Quality("Q3_K_M", False, 3.74, 0.656864, 0.010071, 0.101913),
    Quality("IQ3_M", True, 3.53, 0.666694, 0.009449, 0.102534),
    Quality("IQ3_S", True, 3.42, 0.733867, 0.010245, 0.111278),
    Quality("IQ3_XS", True, 3.28, 0.931409, 0.012084, 0.138693),
    Quality("IQ3_XXS", True, 3.05, 1.226803, 0.015234, 0.183625),
    Quality("Q3_K_S", True, 3.41, 1.371244, 0.015688, 0.199821),
    Quality("Q3_K_S", False, 3.41, 1.632152, 0.017733, 0.228217),
    Quality("IQ2_M", True, 2.74, 2.369166, 0.025244, 0.325989),
    Quality("Q2_K", True, 2.96, 2.416191, 0.025683, 0.332223),
    Quality("Q2_K_S", True, 2.96, 3.092145, 0.031914, 0.403360),
    Quality("IQ2_S", True, 2.56, 3.419148, 0.034017, 0.439197),
    Quality("Q2_K", False, 2.96, 3.519934, 0.033863, 0.445132),
    Quality("IQ2_XS", True, 2.43, 4.529791, 0.042229, 0.546290),
    Quality("IQ2_XXS", True, 2.24, 7.860148, 0.070752, 0.812022),
    Quality("IQ1_M", True, 2.01, 19.262089, 0.152396, 1.393084),
    Quality("IQ1_S", True, 1.88, 54.462959, 0.449644, 2.254554),
)

# Bits per weight of Llama-3.1-8B under every recipe, as llama.cpp's tools/quantize/README.md lists them.
BPW_SOURCE = "llama.cpp, tools/quantize/README.md"
LLAMA_3_8B_BPW = {
    "IQ1_S": 2.0042, "IQ1_M": 2.1460, "IQ2_XXS": 2.3824, "IQ2_XS": 2.5882, "IQ2_S": 2.7403, "IQ2_M": 2.9294,
    "IQ3_XXS": 3.2548, "IQ3_XS": 3.4977, "IQ3_S": 3.6606, "IQ3_M": 3.7628, "IQ4_XS": 4.4597, "IQ4_NL": 4.6818,
    "Q2_K_S": 2.9697, "Q2_K": 3.1593, "Q3_K_S": 3.6429, "Q3_K_M": 3.9960, "Q3_K_L": 4.2979, "Q4_K_S": 4.6672,
    "Q4_K_M": 4.8944, "Q5_K_S": 5.5704, "Q5_K_M": 5.7036, "Q6_K": 6.5633, "Q8_0": 8.5008, "F16": 16.0005,
}  # fmt: skip


def quality_of(recipe: str) -> Quality | None:
    """The published cost of a recipe, without an importance matrix where it was measured so."""
    rows = sorted((q for q in LLAMA_3_8B if q.recipe == recipe), key=lambda q: q.imatrix)
    return rows[0] if rows else None


@dataclass(frozen=True)
class Loader:
    """Which files a program runs. takes: by kind of file; note: a limit worth knowing. source: where it says so."""

    name: str
    runs_on: str
    takes: tuple[str, ...]
    note: str
    source: str


FILE_KINDS = ("GGUF", "GPTQ", "AWQ", "bitsandbytes", "compressed-tensors", "FP8", "MLX")
LOADERS = (
    Loader("llama.cpp", "CPU, CUDA, Metal, Vulkan, ROCm, SYCL", ("GGUF",),
           "every recipe of this chapter; layers may be split between GPU and CPU", "llama.cpp README.md"),
    Loader("Ollama", "CPU, CUDA, Metal, ROCm", ("GGUF",),
           "llama.cpp's engine and one of its own; a Modelfile names the GGUF file", "Ollama docs, import.md"),
    Loader("LM Studio", "CPU, CUDA, Metal, Vulkan", ("GGUF", "MLX"), "MLX on Apple machines only",
           "LM Studio documentation"),
    Loader("transformers", "CUDA, CPU, ROCm, XPU",
           ("GGUF", "GPTQ", "AWQ", "bitsandbytes", "compressed-tensors", "FP8"),
           "a GGUF file is decoded to floats when it is loaded, so it saves no memory there",
           "transformers documentation, Quantization overview"),
    Loader("vLLM", "CUDA, ROCm, CPU",
           ("GGUF", "GPTQ", "AWQ", "bitsandbytes", "compressed-tensors", "FP8"),
           "GGUF is experimental there, and one file only", "vLLM documentation, Quantization"),
    Loader("MLX", "Metal", ("MLX",), "groups of 64 weights with a scale and a bias of 16 bits each",
           "MLX documentation, quantize"),
)  # fmt: skip


@dataclass(frozen=True)
class Agreement:
    """Two ways to look at one recipe of one model. ratio: perplexity over FP16's; same_top: % of places where the
    likeliest token is FP16's; worst: the largest fall of the right token's probability, in %."""

    model: str
    recipe: str
    ratio: float
    same_top: float
    worst: float


AGREEMENT_SOURCE = "llama.cpp, tools/perplexity/README.md, “LLaMA 2 vs. LLaMA 3 Quantization comparison”"
AGREEMENT = (
    Agreement("Llama-2-7B", "Q2_K", 1.107955, 85.584, 99.915),
    Agreement("Llama-3-8B", "Q2_K", 1.564849, 71.138, 99.965),
    Agreement("Llama-2-7B", "Q4_K_M", 1.014242, 94.665, 83.383),
    Agreement("Llama-3-8B", "Q4_K_M", 1.028160, 91.901, 98.699),
    Agreement("Llama-2-7B", "Q6_K", 1.002406, 97.520, 43.142),
    Agreement("Llama-3-8B", "Q6_K", 1.003490, 96.031, 68.487),
    Agreement("Llama-2-7B", "Q8_0", 1.000689, 98.846, 9.343),
    Agreement("Llama-3-8B", "Q8_0", 1.000425, 97.674, 24.301),
)

# Llama-3.1-8B's tokens a second, reading a prompt of 512 tokens and writing 128. Source: as for LLAMA_3_8B_BPW.
SPEEDS = {
    "F16": (923.49, 29.17), "Q8_0": (865.09, 50.93), "Q6_K": (812.01, 58.67), "Q5_K_M": (758.69, 67.23),
    "Q5_K_S": (752.52, 69.53), "Q4_K_M": (821.81, 71.93), "Q4_K_S": (818.55, 76.71), "Q3_K_L": (761.17, 69.38),
    "Q3_K_M": (783.44, 71.68), "Q3_K_S": (752.17, 69.84), "Q2_K": (784.45, 79.85), "Q2_K_S": (798.91, 90.01),
    "IQ4_NL": (806.03, 76.63), "IQ4_XS": (771.80, 77.51), "IQ3_M": (768.70, 70.15), "IQ3_S": (798.78, 69.31),
    "IQ3_XS": (708.71, 71.67), "IQ3_XXS": (813.88, 73.95), "IQ2_M": (787.68, 74.44), "IQ2_S": (783.55, 77.30),
    "IQ2_XS": (826.99, 78.04), "IQ2_XXS": (852.39, 79.86), "IQ1_M": (847.99, 72.92), "IQ1_S": (858.88, 79.73),
}  # fmt: skip


@dataclass(frozen=True)
class Divergence:
    """What a recipe with an importance matrix cost Mistral-7B. median: of the KL divergence; top_differs: share of
    places with another likeliest token; log_ratio: logarithm of the perplexity over the original's."""

    recipe: str
    median: float
    top_differs: float
    log_ratio: float


MISTRAL_SOURCE = "Artefact2, “GGUF quantizations overview”, 26 February 2024: Mistral-7B, Wikitext test set"
MISTRAL_7B = (
    Divergence("IQ1_S", 0.5495, 0.3840, 0.9235), Divergence("IQ2_XXS", 0.1751, 0.2313, 0.2988),
    Divergence("IQ2_XS", 0.1146, 0.1943, 0.2046), Divergence("IQ2_S", 0.0949, 0.1806, 0.1722),
    Divergence("IQ2_M", 0.0702, 0.1557, 0.1223), Divergence("Q2_K_S", 0.0829, 0.1735, 0.1600),
    Divergence("Q2_K", 0.0588, 0.1492, 0.1103), Divergence("IQ3_XXS", 0.0330, 0.1137, 0.0589),
    Divergence("Q3_K_S", 0.0304, 0.1068, 0.0511), Divergence("IQ3_S", 0.0205, 0.0895, 0.0306),
    Divergence("IQ3_M", 0.0186, 0.0859, 0.0268), Divergence("Q3_K_M", 0.0171, 0.0839, 0.0258),
    Divergence("Q3_K_L", 0.0152, 0.0797, 0.0205), Divergence("IQ4_XS", 0.0088, 0.0606, 0.0079),
    Divergence("IQ4_NL", 0.0085, 0.0605, 0.0074), Divergence("Q4_K_S", 0.0083, 0.0600, 0.0081),
    Divergence("Q4_K_M", 0.0075, 0.0576, 0.0060), Divergence("Q5_K_S", 0.0045, 0.0454, 0.0005),
    Divergence("Q5_K_M", 0.0043, 0.0444, 0.0005), Divergence("Q6_K", 0.0032, 0.0394, -0.0008),
)  # fmt: skip


@dataclass(frozen=True)
class Perplexities:
    """A model’s perplexity under recipes made with an importance matrix. family: its architecture’s title; parameters:
    weights; base: F16’s.
    """

    model: str
    family: str
    parameters: float
    base: float
    rows: Mapping[str, float]


PERPLEXITY_SOURCE = "perplexity.md beside the files of ThomasBaruzier’s GGUF repositories on the hub"
PERPLEXITIES = (
    Perplexities("Qwen2.5-1.5B", "Qwen2", 1.54e9, 10.1512, {
        "IQ1_S": 193.6245, "IQ1_M": 66.9068, "IQ2_XXS": 33.3356, "IQ2_XS": 20.2870, "IQ2_S": 18.2927, "IQ2_M": 15.4838,
        "Q2_K_S": 16.0169, "IQ3_XXS": 12.3935, "Q2_K": 14.1657, "IQ3_XS": 11.7112, "Q3_K_S": 12.4782, "IQ3_S": 11.4241,
        "IQ3_M": 11.4058, "Q3_K_M": 11.3529, "Q3_K_L": 11.1934, "IQ4_XS": 10.5302, "IQ4_NL": 10.5116, "Q4_0": 10.8217,
        "Q4_K_S": 10.5236, "Q4_K_M": 10.4628, "Q4_1": 10.5100, "Q5_K_S": 10.2715, "Q5_0": 10.3196, "Q5_K_M": 10.2529,
        "Q5_1": 10.2624, "Q6_K": 10.2030, "Q8_0": 10.1670,
    }),
    Perplexities("Qwen2.5-32B", "Qwen2", 32.8e9, 5.5191, {
        "IQ1_S": 12.2991, "IQ1_M": 10.2638, "IQ2_XXS": 8.0187, "IQ2_XS": 7.3601, "IQ2_S": 7.2397, "IQ2_M": 6.7268,
        "Q2_K_S": 6.9981, "Q2_K": 6.6603, "IQ3_XXS": 6.1570, "IQ3_XS": 6.0366, "Q3_K_S": 6.0878, "IQ3_S": 5.9886,
        "IQ3_M": 5.9942, "Q3_K_M": 5.8008, "Q3_K_L": 5.7812, "IQ4_XS": 5.6502, "IQ4_NL": 5.6408, "Q4_0": 5.6946,
        "Q4_K_S": 5.6367, "Q4_K_M": 5.6224, "Q4_1": 5.6586, "Q5_K_S": 5.5680, "Q5_0": 5.5880, "Q5_K_M": 5.5670,
        "Q5_1": 5.5734, "Q6_K": 5.5305, "Q8_0": 5.5221,
    }),
)  # fmt: skip

# Mean KL divergence of single files: llama.cpp's own recipes of Llama 4 Scout, all made with an importance matrix.
SCOUT_SOURCE = "bartowski, “Comparing sub 50GB Llama 4 Scout quants”, 9 April 2025, llama.cpp’s own recipes"
SCOUT = {"IQ1_M": 0.933, "IQ2_XXS": 0.664, "IQ3_XXS": 0.244}
# The same of a model that is Llama-3.1-8B further trained.
TRAINED_SOURCE = "eaddario, Watt-Tool-8B-GGUF on the hub, scores: Llama-3.1-8B further trained"
TRAINED = {"Q8_0": 0.000238, "Q5_K_M": 0.004726, "Q3_K_M": 0.051126, "IQ3_M": 0.066422}
# And of files that their makers published without or with one, which show what small models lose.
SMALL_SOURCE = "quantgap, results on the hub: Qwen2.5-1.5B-Instruct"
SMALL = {("Q3_K_M", False): 0.15920, ("IQ3_M", True): 0.14942, ("Q2_K", False): 0.60872}
# Mean KL divergence and % of places with another likeliest token, of files made with an importance matrix.
QWEN_36_SOURCE = "sokann, Qwen3.6-27B-GGUF on the hub, mradermacher’s files on Wikitext-2’s test set"
QWEN_36_27B = {"Q4_K_M": (0.024690, 5.797), "IQ4_XS": (0.027289, 6.097)}


@dataclass(frozen=True)
class Elsewhere:
    """What a family lost on other texts than Wikitext-2. weights: by its files; cache: by a quantized cache alone."""

    weights: str
    cache: str


LOCALBENCH = "localbench, April 2026, 250,000 tokens of chats, code and long documents, the 40 likeliest tokens"
ON_OTHER_TEXTS = {
    "Gemma 4": Elsewhere(
        f"Gemma 4 31B moved by KL 0.16 in Q8_0 and by 0.61 to 0.76 in Q4_K_M ({LOCALBENCH})",
        f"a cache in Q8_0 moved Gemma 4 31B by KL 0.11 and 26B-A4B by 0.38 ({LOCALBENCH})",
    )
}
