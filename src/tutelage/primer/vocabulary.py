"""The tokenizer of the built-in model: whole words with their leading space, single digits, single ASCII characters.

`decode(encode(text)) == text` holds for every text made of printable ASCII and line breaks: nothing is normalised, no
token is added, and a word that is not in the vocabulary falls apart into characters. It is a unigram model, in
which the pieces of unknown words cost more than any whole word.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tutelage.problems.primer.cells import OPERATIONS
from tutelage.problems.primer.prompts import MARKERS
from tutelage.problems.primer.story import HE, OBJECTS, SHE

PAD, BOS, EOS, UNKNOWN = "<pad>", "<bos>", "<eos>", "<unk>"
SPECIALS = (PAD, BOS, EOS, UNKNOWN)
PIECE = r"\n|```[a-z]*| ?[A-Za-z]+:?| ?[0-9]| ?[^\sA-Za-z0-9`]|\s|`"
"""What a text is split into before words are looked up."""
MAX_POSITIONS = 1024

_LINE_STARTS = ("answer:", "verdict:", "step", "plan:", "print", "yes", "no", "question:", "solution:", "how")
_FRAMES = (
    "a friend has how many does have? she he how many times as many",
    "low mid high ```python ```output ``` answer: verdict: correct wrong, use",
    "plan: step complete: yes no missing unclear drop it. (A) (B) (C) (D) A B C D, question: solution:",
)


def words() -> list[str]:
    """All whole pieces of the world's texts, sorted; starts of lines come without a leading space."""
    texts = [*_FRAMES, *_LINE_STARTS, *SHE, *HE, *MARKERS]
    texts += [" " + text for text in (*SHE, *HE, *OBJECTS, *_FRAMES)]
    for operation in OPERATIONS.values():
        texts += [operation.name.replace("_", " "), " " + operation.name.replace("_", " ")]
        for wording in operation.wordings:
            texts.append(" " + re.sub(r"\{.\}", " ", wording))
    texts += [" 0 1 2 3 4 5 6 7 8 9 +1 -1 *1 /1"]
    pieces = {piece for text in texts for piece in re.findall(PIECE, text)}
    return sorted(pieces)


def vocabulary() -> list[str]:
    """All tokens in the order of their ids: specials, the line break, printable ASCII, then words."""
    characters = ["\n", *(chr(code) for code in range(32, 127))]
    return [*SPECIALS, *characters, *(word for word in words() if word not in characters)]


def build_tokenizer() -> Any:
    """The tokenizer as a `PreTrainedTokenizerFast` with pad, bos, eos and unk set; it adds no token on its own."""
    # Whole words cost 1, characters 20: no split of a known word can be cheaper than the word.
    scores = [(token, -20.0 if len(token) == 1 and not token.isdigit() else -1.0) for token in vocabulary()]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=SPECIALS.index(UNKNOWN), byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECE), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIALS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
        model_max_length=MAX_POSITIONS,
        padding_side="left",
    )


def save_tokenizer(folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json into a folder, in a form every recent transformers reads."""
    build_tokenizer().save_pretrained(str(folder))
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["tokenizer_class"] = "PreTrainedTokenizerFast"  # newer releases write a class name that older ones lack
    config.pop("backend", None)
    path.write_text(json.dumps(config, indent=2) + "\n")
