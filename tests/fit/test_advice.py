"""Twenty questions with their answers worked out by hand, and what the advice must never do.

The sums below each case are in GB (10⁹ bytes) or GiB (2³⁰) as said. File sizes: llama.cpp's tools/quantize/README.md
(bits per weight of Llama-3.1-8B) times the weights on the model's card, or the named published file. Caches: 2 · layers
· key-value heads · head width · tokens · 2 bytes. Cards: GiB less the 1 GiB that llama.cpp keeps free (--fit-target).
Apple: two thirds or three quarters of the memory, as Metal reports it.
"""

from functools import cache
from itertools import pairwise

import pytest

from quantlib.fit import ask, machine_named, words
from quantlib.fit.advice import POOR, TIGHT, worth
from quantlib.fit.machines import GIB, cards, computer, highest_limit, later_share, limited, mac, own
from quantlib.recipes import RECIPES

QUESTIONS = {
    # 8.53 + 1.07 + 0.3 of 11.8 usable; BF16, 16.1, is too large. The embedding, 0.56, stays in the computer's memory.
    "8B on 12 GB": ("8B", "GeForce RTX 3060, 12 GB", 8192, "Q8_0", "whole"),
    # Qwen3-14B: Q5_K_S 10.26 less 0.53 of embedding + 1.34 + 0.36 = 11.4 of 11.8; Q5_K_M leaves under 0.25.
    "14B on 12 GB": ("14B", "GeForce RTX 3060, 12 GB", 8192, "Q5_K_S", "whole"),
    # Q5_K_M 21.7 + 0.8 + 0.3 = 22.7 of 24.7; Q6_K 25.1 is larger than the card.
    "30B-A3B on 24 GB": ("30B-A3B", "GeForce RTX 4090, 24 GB", 8192, "Q5_K_M", "whole"),
    # Q6_K 25.1 + 1.1 = 26.2 of 33.1; Q8_0 32.5 + 1.1 = 33.6 does not fit.
    "30B-A3B on 32 GB": ("30B-A3B", "GeForce RTX 5090, 32 GB", 8192, "Q6_K", "whole"),
    # 70.55 · 2.40 bits = 21.1, + 2.68 + 0.3 = 24.1 less 0.3 of embedding, of 24.7; IQ2_S, 22.2, is over.
    "70B on 24 GB": ("70B", "GeForce RTX 4090, 24 GB", 8192, "IQ2_XS", "poor"),
    # IQ3_XS 29.3 (KL 0.139) + 2.68 + 0.3 less 0.4 = 31.9 of 33.1; IQ3_S, 30.9, is over. Not IQ2_M at KL 0.33.
    "70B on 32 GB": ("70B", "GeForce RTX 5090, 32 GB", 8192, "IQ3_XS", "whole"),
    # Q4_K_M 42.5 + 2.68 + 2 · 0.3 less 0.6 = 45.2 of 49.4; Q5_K_S, 48.6, is over. The usual answer for two such cards.
    "70B on two cards of 24 GB": ("70B", "2 × GeForce RTX 3090, 24 GB each", 8192, "Q4_K_M", "whole"),
    # Three quarters of 64 GiB: 51.5. Q4_K_M 42.5 + 3.0; Q5_K_S 48.6 + 3.0 = 51.6 is over.
    "70B on a Mac of 64 GB": ("70B", "Apple M4 Max, 64 GB", 8192, "Q4_K_M", "whole"),
    # Q4_K_M 42.5 + 3.0 less 0.6 of embedding = 44.9 of 48 GiB less 1 = 50.4; Q5_K_M 49.9 + 3 = 52.3 is over.
    "70B on 48 GB": ("70B", "RTX 6000 Ada, 48 GB", 8192, "Q4_K_M", "whole"),
    # Two thirds of 16 GiB: 11.45. Q8_0 8.53 + 1.07 + 0.3 = 9.9.
    "8B on a MacBook of 16 GB": ("8B", "Apple M2, 16 GB", 8192, "Q8_0", "whole"),
    # 8 GiB less 3 for the system: 5.37. Q3_K_M 4.01 + 1.07 + 0.3 = 5.38 is over; IQ3_S 3.67 fits with 0.3 to spare.
    "8B on a laptop of 8 GB": ("8B", "Laptop, DDR4-3200, 8 GB", 8192, "IQ3_S", "whole"),
    # The published MXFP4 file, 12.1; nothing larger has more in it.
    "gpt-oss-20b on 16 GB": ("gpt-oss-20b", "GeForce RTX 4060 Ti, 16 GB", 8192, "MXFP4_MOE", "whole"),
    # Q6_K 22.6 + 0.48 + 0.59 = 23.7 of 24.7: the windows of 1,024 tokens keep the cache small. Q8_0, 26.9, is over.
    "Gemma 4 26B on 24 GB": ("Gemma-4-26B-A4B", "GeForce RTX 4090, 24 GB", 8192, "Q6_K", "whole"),
    # The cache alone is 131,072 · 128 KiB = 17.2; Q6_K 6.6 less 0.43 of embedding + 17.2 + 0.3 = 23.7 of 24.7.
    "8B, 128k tokens, on 24 GB": ("Llama-3.1-8B", "GeForce RTX 4090, 24 GB", 131_072, "Q6_K", "whole"),
    # 48 of 60 linear layers keep a state only: 2.75 for 128k tokens; Q4_K_M 21.7, of which 0.8 are not loaded.
    "Qwen3.6 35B, 128k tokens, on 24 GB": ("Qwen3.6-35B-A3B", "GeForce RTX 4090, 24 GB", 131_072, "Q4_K_M", "whole"),
    # Q4_K_M 19.8 + 2.15 + 0.36 = 22.3 less 0.44, of 24.7; Q5_K_S, 22.6, + 2.5 is over.
    "32B on 24 GB": ("Qwen3-32B", "GeForce RTX 3090, 24 GB", 8192, "Q4_K_M", "whole"),
    # Llama-2's 40 key-value heads: 0.82 MB a token, 3.36 for 4,096. Q6_K 10.7 + 3.36 + 0.1 = 14 of 16.1.
    "Llama 2 13B on 16 GB": ("Llama-2-13B", "GeForce RTX 4060 Ti, 16 GB", 4096, "Q6_K", "whole"),
    # Three quarters of 512 GiB: 412. Q4_K_M 404 + 0.6 (latents) + 0.3 = 405.
    "DeepSeek V3 on 512 GB": ("DeepSeek-V3", "Apple M3 Ultra, 512 GB", 8192, "Q4_K_M", "whole"),
    # Q6_K 11.77 · 6.56 bits = 9.66; 8 layers keep 8,192 tokens of 8 KB, 40 keep 1,536: 0.54 + 0.50; scores 0.6: 11.3 of
    # 11.8. Q8_0, 12.5, is larger than the card.
    "Gemma 3 12B on 12 GB": ("Gemma-3-12B", "GeForce RTX 3060, 12 GB", 8192, "Q6_K", "whole"),
    # Two thirds of 8 GiB: 5.73. Q8_0 3.2 (tied embedding, once) + 0.87 + 0.3 = 4.4.
    "3B on a MacBook of 8 GB": ("3B", "Apple M1, 8 GB", 8192, "Q8_0", "whole"),
}  # fmt: skip


@cache
def answered(model, machine, context=8192):
    return ask(model, machine, context)


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions_worked_out_by_hand(question):
    model, machine, context, recipe, how = QUESTIONS[question]
    answer = answered(model, machine, context)
    assert (answer.option.recipe, answer.choice.how) == (recipe, how), answer.text
    assert answer.option.headroom >= TIGHT
    assert recipe.removesuffix("_MOE") in answer.headline


def test_experts_in_the_computers_memory():
    """gpt-oss-120b, 63.4 GB, on a card of 24 GB with 64 GB beside it: half of its 36 layers' experts stay there."""
    answer = ask("gpt-oss-120b", cards("RTX 4090", 24, 1008e9).with_memory(64), 8192)
    placed = answer.option.placed
    assert (answer.option.recipe, placed.how) == ("MXFP4_MOE", "experts")
    assert placed.fast + placed.cache + placed.work <= answer.machine.usable
    assert f"--n-cpu-moe {placed.count}" in words.command(answer)
    each = answer.option.weighed.parts.experts[0]
    assert (63.4e9 - 24.7e9) / each - 1 < placed.count < (63.4e9 - 24.7e9) / each + 3
    short = answered("gpt-oss-120b", "GeForce RTX 4090, 24 GB")  # 32 GB beside it
    assert short.option is None and short.headline.startswith("Nothing fits")
    assert "With 48 GB of memory in the computer, MXFP4 runs" in short.text
    assert ask("gpt-oss-120b", short.machine.with_memory(48), 8192).option.recipe == "MXFP4_MOE"


def test_layers_in_the_computers_memory():
    """A dense model runs so too, as slowly as that memory is read, and the advice says that."""
    answer = ask("70B", cards("RTX 3060", 12, 360e9).with_memory(64), 8192)
    beside = next(o for o in answer.options if o.recipe == "Q4_K_M" and o.imatrix)
    placed = beside.placed
    assert placed.how == "layers" and 0 < placed.count < 80
    assert placed.need <= answer.machine.usable
    assert placed.fast + placed.slow - placed.cache * placed.count / (80 - placed.count) == pytest.approx(
        beside.weighed.nbytes, rel=0.01
    )
    assert 50e9 / placed.slow * 0.4 < beside.speed.about < 50e9 / placed.slow
    assert answer.choice.how in ("poor", "beside")


@pytest.mark.parametrize("machine", ["GeForce RTX 3060, 12 GB", "Apple M2, 16 GB", "Laptop, DDR4-3200, 8 GB"])
@pytest.mark.parametrize("model", ["8B", "14B", "3B"])
def test_the_advice_holds_what_it_promises(model, machine):
    answer = answered(model, machine)
    fitting = [option for option in answer.options if option.fits]
    for option in answer.options:
        assert option.fits == (option.headroom >= 0)
        assert option.total == answer.machine.usable - option.headroom
    if fitting and answer.choice.how == "whole":
        easy = [option for option in fitting if option.headroom >= TIGHT] or fitting
        for other in easy:
            if other.weighed.nbytes > answer.option.weighed.nbytes:
                assert not worth(other, answer.option), "no larger one is worth its size"
    assert not (answer.option is None and fitting), "nothing fits is never said where something does"


def test_no_hole_in_the_ladder():
    """As memory shrinks, the advice goes down in small steps, and its cost up in small ones."""
    sizes, costs, advised = [], [], []
    for gib in [x / 4 for x in range(18, 90)]:
        option = ask("Llama-3-8B", computer("x", gib, 50e9)).option
        if option is not None:
            sizes.append(option.weighed.nbytes)
            costs.append(option.cost.kl)
            advised.append(option.recipe)
    assert sizes == sorted(sizes) and costs == sorted(costs, reverse=True)
    assert {"Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "IQ3_XXS"} <= set(advised)
    assert all(b / a < 1.35 for a, b in pairwise(sizes))


def test_a_hundredth_of_the_cost_is_not_worth_twice_the_file():
    answer = answered("8B", "GeForce RTX 4090, 24 GB")
    by_name = {(o.recipe, o.imatrix): o for o in answer.options}
    assert answer.option.recipe == "Q8_0", "BF16 fits, and buys next to nothing"
    assert not worth(by_name["BF16", False], by_name["Q8_0", False])
    assert worth(by_name["Q8_0", False], by_name["Q6_K", False])
    assert not worth(by_name["IQ4_NL", True], by_name["IQ4_XS", True])


def test_more_than_the_trained_context_is_said():
    assert "trained for 8,192 tokens" in ask("Llama-3-8B", "GeForce RTX 4090, 24 GB", 32_768).text
    assert "trained for" not in answered("Llama-3.1-8B", "GeForce RTX 4090, 24 GB", 131_072).text


def test_a_mix_of_stand_ins_is_named():
    answer = answered("Qwen2.5-0.5B", "GeForce RTX 4060, 8 GB")
    mixed = next(o for o in answer.options if o.recipe == "Q4_K_M")
    assert mixed.weighed.fallback > 0.25, "896 is no multiple of 256"
    small = ask("Qwen2.5-0.5B", own("computer", 3.75, 50e9))
    assert small.option.weighed.fallback > 0.25
    assert "stand in" in small.text


def test_memory_as_it_is():
    assert mac("M2", 16, 1e11).usable == pytest.approx(11_453.25e6, rel=1e-4)  # recommendedMaxWorkingSetSize
    assert mac("M1 Max", 64, 4e11).usable == pytest.approx(51_539.61e6, rel=1e-4)
    assert mac("M3 Max", 36, 4e11).usable == pytest.approx(28_991.03e6, rel=1e-4)
    assert cards("3060", 12, 36e10, mib=12_288).usable == (12_288 - 1024) << 20
    assert computer("x", 8, 5e10).usable == 5 << 30
    assert own("card", 24, 1e12, 2).usable == 2 * (23 << 30)


def test_costs_are_published_or_a_range():
    published = answered("Llama-3.1-8B", "GeForce RTX 3060, 12 GB")
    for option in published.options:
        assert option.cost.published and option.cost.low == option.cost.kl == option.cost.high
    estimated = answered("14B", "GeForce RTX 3060, 12 GB")
    lossy = [o for o in estimated.options if o.cost.kl > 0]
    assert all(o.cost.low < o.cost.kl <= o.cost.high and not o.cost.published for o in lossy)
    q8 = next(o for o in published.options if o.recipe == "Q8_0")
    assert q8.cost.top == pytest.approx(2.326, abs=0.01), "as chapter Claims has it"
    both = [o for o in published.options if o.recipe == "Q4_K_M"]
    assert {o.imatrix for o in both} == {True, False} and len({o.cost.kl for o in both}) == 2
    assert {o.recipe for o in published.options} <= set(RECIPES)
    assert any(o.cost.kl > POOR for o in published.options)


@pytest.mark.parametrize(
    ("model", "recipe", "imatrix", "kl"),
    # Published divergences: quantgap's of Qwen2.5-1.5B-Instruct, bartowski's of Llama 4 Scout, sokann's of Qwen3.6-27B.
    [("Qwen2.5-1.5B", "IQ3_M", True, 0.149), ("Llama-4-Scout", "IQ3_XXS", True, 0.244),
     ("Qwen3.6-27B", "IQ4_XS", True, 0.0273), ("Qwen3.5-27B", "Q4_K_M", True, 0.0247)],
)  # fmt: skip
def test_a_published_divergence_is_met(model, recipe, imatrix, kl):
    """From the growth of its perplexity, or the figure itself."""
    answer = answered(model, "Apple M4 Max, 128 GB")
    cost = next(o.cost for o in answer.options if (o.recipe, o.imatrix) == (recipe, imatrix))
    assert cost.published and cost.kl == pytest.approx(kl, rel=0.25)


def test_a_family_of_two_sizes_is_between_them():
    small, middle, large = (answered(f"Qwen2.5-{size}", "Apple M4 Max, 128 GB") for size in ("1.5B", "14B", "32B"))
    for recipe in ("Q4_K_M", "IQ3_XXS", "IQ2_XS"):
        low, between, high = (
            next(o.cost for o in a.options if o.recipe == recipe and o.imatrix) for a in (large, middle, small)
        )
        assert low.published and high.published and not between.published
        assert low.kl == pytest.approx(between.low) and high.kl == pytest.approx(between.high)
        assert between.low < between.kl < between.high


@pytest.mark.parametrize(
    "model", ["Mistral-7B-v0.3", "Qwen2.5-32B", "Llama-4-Scout", "Llama-2-7B", "Qwen2.5-14B", "Qwen3.6-27B"]
)
def test_a_larger_file_is_not_said_to_cost_more(model):
    """The costs of one model come from several tables; they rise with fewer bits all the same."""
    whole = [o for o in answered(model, "Apple M3 Ultra, 512 GB").options if o.imatrix or o.weighed.bpw > 5.4]
    plain = [o.cost.kl for o in whole if o.recipe in ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "IQ3_M", "IQ2_M")]
    assert plain == sorted(plain)


@pytest.mark.parametrize(
    ("gib", "mb"), [(16, 12_713), (24, 19_070), (32, 26_801), (48, 40_201), (64, 55_663), (128, 115_449)]
)
def test_what_later_macs_allow(gib, mb):
    """recommendedMaxWorkingSetSize as llama.cpp printed it on Macs of so much memory."""
    assert later_share(gib * GIB) / 1e6 == pytest.approx(mb, rel=1e-3)
    assert later_share(gib * GIB) >> 20 <= highest_limit(gib * GIB) + 512


def test_a_mac_whose_limit_was_raised_takes_more():
    as_made = answered("14B", "Apple M2, 16 GB")
    assert "12.7 GB instead of 11.5 GB: there Q5_K_M fits whole" in as_made.text
    raised = ask("14B", limited(machine_named("Apple M2, 16 GB"), 13_312), 8192)
    assert raised.machine.usable == 13_312 << 20 and raised.option.recipe == "Q5_K_M"
    assert "--wired-limit 13312" in words.shell(raised, "14B")
    assert own("mac", 16, 100e9, limit=13_312).usable == 13_312 << 20


def test_without_a_bandwidth_what_runs_in_two_memories_is_found():
    """Nobody has to know the bandwidth of a card: a known one of that size lends its own."""
    answer = ask("gpt-oss-120b", own("card", 24, 0, ram=96), 8192)
    assert answer.option.placed.how == "experts" and answer.option.speed.about > 5
    assert "The speed assumes 960 GB/s" in answer.text and "--bandwidth" not in words.shell(answer, "gpt-oss-120b")
    unknown = ask("gpt-oss-120b", cards("Card", 24, 0).with_memory(96), 8192)
    assert unknown.option is not None and unknown.option.speed is None


def test_in_two_memories_speed_counts():
    """14.8B on 8 GB: Q6_K would leave half of the layers to the computer; nobody takes one bit at a third of the speed.
    And 2.3 bits at a bearable speed are no answer, where a smaller model does better."""
    some = ask("14B", own("card", 8, 272e9, ram=16), 8192)
    by_name = {o.recipe: o for o in some.options if o.imatrix or o.recipe.startswith("Q5")}
    assert some.option.speed.about >= 0.75 * by_name["Q4_K_M"].speed.about
    poor = ask("Qwen3-32B", own("card", 8, 272e9, ram=32), 8192)
    assert poor.option.recipe == "Q4_K_M" and "slower than one reads" in poor.text
    assert "A smaller model: Qwen3-8B" in poor.text


def test_a_smaller_model_fits_with_its_cache():
    """Qwen3-14B's file would fit, its cache of 32,768 tokens would not: 9.0 + 5.4 of 11.5 GB."""
    answer = ask("Qwen3-Coder-30B-A3B", "Apple M2, 16 GB", 32_768)
    assert "A smaller model: " in answer.text and "Qwen3-14B" not in answer.text


def test_what_nearly_fits_is_told():
    """Mistral-7B on a laptop of 8 GB: Q4_K_M 4.37 + 1.07 + 0.15 of 5.37; half a GB less of cache lets it fit."""
    said = ask("7B", own("computer", 8, 51e9), 8192).text
    assert "With the cache in Q8_0, 0.5 GB smaller, Q4_K_M fits whole." in said
    assert "With 4,096 tokens of context Q4_K_M fits whole." in said and "A smaller model" not in said


def test_a_mac_has_no_second_memory():
    said = ask("Llama-3.2-3B", "Apple M1, 8 GB", 131_072).text
    assert "Nothing fits" in said and "the computer's memory" not in said


def test_what_other_texts_showed_is_told():
    """Gemma 4 is published on chats and long documents only, where it and its cache lose much more."""
    plain = answered("Gemma-4-26B-A4B", "GeForce RTX 4090, 24 GB").text
    assert "On other texts more is lost: Gemma 4 31B moved by KL 0.16 in Q8_0" in plain and "26B-A4B by" not in plain
    small = ask("Gemma-4-26B-A4B", "GeForce RTX 4090, 24 GB", 8192, "Q8_0").text
    assert "a cache in Q8_0 moved Gemma 4 31B by KL 0.11 and 26B-A4B by 0.38" in small
    assert "With the cache in Q8_0" not in ask("Gemma-4-31B", "GeForce RTX 4060 Ti, 16 GB", 131_072).text
    assert "other texts" not in answered("8B", "GeForce RTX 3060, 12 GB").text


def test_fewer_bits_are_not_taken_where_one_layer_beside_saves_them():
    """4.0B, 32k tokens: a cache of 4.83 of 7.5 GB leaves three bits whole; five bits with a few layers beside lose a
    quarter of the speed and most of the cost."""
    answer = answered("Qwen3-4B-2507", "GeForce RTX 4060, 8 GB", 32_768)
    assert (answer.option.recipe, answer.choice.how) == ("Q5_K_S", "beside")
    assert answer.option.speed.about > 0.75 * answer.choice.other.speed.about
    assert answer.choice.other.cost.kl > 2 * answer.option.cost.kl
    dense = answered("Qwen3.6-27B", "GeForce RTX 4060 Ti, 16 GB", 32_768)
    assert dense.choice.how == "whole", "ten layers beside cost half of the speed"


def test_what_runs_well_needs_no_smaller_model():
    said = ask("Qwen3-Coder-30B-A3B", own("card", 8, 272e9, ram=32), 65_536)
    assert said.option.speed.about > 10 and "A smaller model" not in said.text


def test_a_smaller_model_reads_as_much():
    """SmolLM2 would fit beside a long cache, but was trained for 8,192 tokens."""
    said = ask("Qwen3-32B", own("computer", 8, 51e9), 32_768).text
    assert "SmolLM2" not in said
    assert "tokens of context Q4_K_M fits whole" not in ask("8B", own("computer", 10, 51e9), 131_072).text


def test_what_runs_badly_is_not_advised():
    """72B on 12 GB with 32 beside: only one bit runs, at a token a second."""
    answer = ask("Qwen2.5-72B", "GeForce RTX 3060, 12 GB")
    assert answer.choice.how == "last" and answer.option.speed.about < 2
    assert answer.headline.startswith("Nothing runs well here: IQ1_S, with ")
    assert "a smaller model is the better answer" in answer.text and "A smaller model: " in answer.text
