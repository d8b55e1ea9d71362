"""A model's name is taken apart: what each part says, what is left open; any text is read."""

import json
import random

import pytest

from quantlib import formats
from quantlib.cli import main
from quantlib.figures.label import label_html
from quantlib.recipes import RECIPES
from quantlib.recipes.known_signs import SIGNS
from quantlib.recipes.labels import BETWEEN, LONGEST, read_label
from quantlib.recipes.signs import WHOLE

UNSLOTH = "https://huggingface.co/unsloth/Qwen3-30B-A3B-GGUF/blob/main/Qwen3-30B-A3B-UD-Q4_K_XL.gguf?download=true"


def texts(name: str) -> list[str]:
    return [part.text for part in read_label(name).parts]


def open_questions(name: str) -> set[str]:
    words = {what: key for key, (what, _) in WHOLE.items()}
    return {words[one.what] for one in read_label(name).unknown}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_found_behind_a_models_name(recipe):
    for name in (
        f"Some-Model-8B-{recipe}.gguf",
        f"some-model-8b.{recipe.lower()}.gguf",
        f"owner/Some-8B-GGUF:{recipe}",
    ):
        label = read_label(name)
        assert (label.recipe, label.weights) == (recipe, 8_000_000_000)
        assert label.bits == formats.get(RECIPES[recipe].default).bpw
        assert label.nbytes == int(8e9 * label.bits / 8)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (UNSLOTH, ["unsloth", "Qwen3", "30B", "A3B", "UD", "Q", "4", "K", "XL", "gguf"]),
        ("bartowski/Llama-3.1-8B-Instruct-GGUF:Q4_K_L",
         ["bartowski", "Llama-3.1", "8B", "Instruct", "GGUF", "Q", "4", "K", "L"]),
        ("Foo-12B.i1-IQ3_XXS.gguf", ["Foo", "12B", "i1", "IQ", "3", "XXS", "gguf"]),
        ("Foo.imat.Q5_K_S.gguf", ["Foo", "imat", "Q", "5", "K", "S", "gguf"]),
        ("gpt-oss-20b-MXFP4_MOE.gguf", ["gpt-oss", "20b", "MXFP", "4", "MOE", "gguf"]),
        ("Phi-3-mini-4k-instruct-Q4_0_4_4.gguf", ["Phi-3-mini", "4k", "instruct", "Q", "4", "0", "4_4", "gguf"]),
        ("flux1-dev-fp8_e4m3fn_scaled.safetensors", ["flux1-dev", "fp8_e4m3fn_scaled", "safetensors"]),
        ("Meta-8B-Instruct-quantized.w4a16", ["Meta", "8B", "Instruct", "quantized", "w4a16"]),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", ["Qwen", "Qwen2.5", "7B", "Instruct", "GPTQ", "Int4"]),
        ("TheBloke/Llama-2-7B-Chat-AWQ", ["TheBloke", "Llama-2", "7B", "Chat", "AWQ"]),
        ("unsloth/Llama-3.2-1B-unsloth-bnb-4bit", ["unsloth", "Llama-3.2", "1B", "unsloth-bnb-4bit"]),
        ("Llama-3.1-70B EXL3 2.5bpw h6", ["Llama-3.1", "70B", "EXL3", "2.5bpw", "h6"]),
        ("llama3.1:8b-instruct-q4_K_M", ["llama3.1", "8b", "instruct", "q".upper(), "4", "K", "M"]),
        ("DeepSeek-R1-UD-IQ1_S-00001-of-00003.gguf", ["DeepSeek-R1", "UD", "IQ", "1", "S", "00001-of-00003", "gguf"]),
        (r"C:\models\My Model-7b.Q8_0.gguf", ["My Model", "7b", "Q", "8", "0", "gguf"]),
        ("owner/Some-8B-exl3/2.5bpw", ["owner", "Some", "8B", "exl3", "2.5bpw"]),
    ],
)  # fmt: skip
def test_names_that_people_meet(name, expected):
    assert texts(name) == expected


@pytest.mark.parametrize(
    ("name", "unknown"),
    [
        ("X-8B-Q4_K_M.gguf", {"imatrix", "quality"}),
        ("X-8B.i1-Q4_K_M.gguf", {"imatrix text", "quality"}),
        ("X-8B-IQ2_XXS.gguf", {"imatrix text", "quality"}),  # this recipe cannot be made without one
        ("X-8B-UD-Q4_K_XL.gguf", {"mixture", "imatrix text", "quality"}),
        ("X-8B-AWQ", {"calibration", "group", "quality"}),
        ("X-8B-gptq-4bit-128g-actorder", {"calibration", "quality"}),
        ("X-8B-GPTQ-Int4", {"calibration", "group", "order", "quality"}),
        ("X-8B-w8a8", {"calibration", "kept", "number", "quality"}),
        ("X-fp8_e4m3fn.safetensors", {"scaled", "kept", "quality"}),
        ("X-fp8.safetensors", {"float", "kept", "quality"}),
        ("X-8B-4bit", {"format", "quality"}),
        ("X-8B-Instruct", set()),
        ("hello", set()),
    ],
)
def test_what_a_name_leaves_open(name, unknown):
    assert open_questions(name) == unknown


def test_a_mixture_of_the_makers_own_promises_no_size():
    assert read_label("X-8B-UD-Q2_K_XL.gguf").nbytes is None
    assert read_label("X-8B-Q2_K.gguf").nbytes > 0
    assert read_label("X-8x7B-Q2_K.gguf").nbytes is None, "eight experts share their attention"


def test_what_says_nothing_says_so():
    assert not read_label("hello").stored
    assert not read_label("").parts
    assert "Nothing in this name" in label_html(read_label("Llama-3-8B-Instruct"))


def test_any_text_is_read_and_shown_as_text():
    rng = random.Random(1)
    pieces = [
        *BETWEEN,
        "Q4_K_M",
        "<b>",
        "&",
        "é",
        "\u202e",
        "\n",
        "8B",
        "%",
        "fp8",
        "0" * 40,
        "W4A16",
        "_" * 30,
        "(",
        "*",
    ]
    for _ in range(300):
        name = "".join(rng.choices(pieces, k=rng.randint(0, 40)))
        label = read_label(name)
        assert len(label.text) <= LONGEST
        assert all(part.text and part.title for part in label.parts)
        assert "<b>" not in label_html(label).replace("<td><b>", "").replace("At least <b>", "").replace("<p><b>", "")


def test_signs_ask_only_what_is_explained_and_every_question_is_asked():
    shown = [sign.pattern.pattern for sign in SIGNS]
    assert len(shown) == len(set(shown))
    names = ["X-Q4_K_M", "X.i1-Q4_K_M", "X-UD-Q4_K_XL", "X-GPTQ", "X-w8a8", "X-fp8", "X-e4m3fn", "X-4bit"]
    assert set.union(*map(open_questions, names)) == set(WHOLE)


def test_the_command_prints_it(capsys):
    assert main(["name", UNSLOTH]) == 0
    printed = capsys.readouterr().out
    assert "Unsloth Dynamic" in printed and "does not say" in printed
    assert main(["name", "X-8B-Q4_K_M.gguf", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recipe"] == "Q4_K_M" and found["nbytes"] == 4_500_000_000
