"""Hugging Face tokenizers from local folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from ...envs import Vocabulary, WordVocabulary
from ...envs.chat_templates import short
from ...envs.tokenizer_vocabulary import TokenizerVocabulary
from ..folders import WORDS_FILE, checked_words, read_json, require_words
from .adapters import base_of, is_adapter

CONFIG_FILE = "tokenizer_config.json"
TOKENIZER_FILE = "tokenizer.json"
JSON_FILES = (CONFIG_FILE, TOKENIZER_FILE, "special_tokens_map.json", "added_tokens.json", "config.json")
VOCABULARY_FILES = (TOKENIZER_FILE, "tokenizer.model", "spiece.model", "tekken.json", "vocab.json", "vocab.txt")
"""Where the tokens of a tokenizer may stand, whatever its class."""
PLAIN_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""How transformers calls tokenizers that are all that their file says; the first until version 5."""
CLASS_ENDINGS = ("Tokenizer", "TokenizerFast", "Backend")
"""How the classes of tokenizers are called in transformers."""


def load_tokenizer(folder: str | Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Return the tokenizer saved in a folder; nothing is downloaded.

    Args:
        folder: what `save_pretrained` wrote.
        trust_remote_code: whether Python code in the folder may be run; without it such a folder is refused.

    Raises:
        ValueError: there is no such folder, or no tokenizer in it; the message names the file that is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"tokenizer: expected a folder with a saved tokenizer, got {str(folder)!r}")
    _require_config(folder / CONFIG_FILE, any_class=trust_remote_code)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=trust_remote_code
        )
        if type(tokenizer) is not PreTrainedTokenizerFast and _is_plain(folder):
            tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
        tokenizer.encode("a \u2603")  # a limit that is no number, or no token for unknown words, shows here first
    except Exception as error:  # the tokenizers library raises bare exceptions for what is wrong in tokenizer.json
        _require_json(folder)
        path = folder / TOKENIZER_FILE
        said = f"damaged {path}: {error}" if type(error) is Exception and path.is_file() else str(error)
        raise ValueError(f"tokenizer {folder}: expected a folder with a saved tokenizer, got {short(said)}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise ValueError(f"tokenizer {folder}: expected a tokenizer, got {type(tokenizer).__name__}")
    names = {*tokenizer.vocab_files_names.values(), *VOCABULARY_FILES}
    if tokenizer.vocab_files_names and not any((folder / name).is_file() for name in names):
        raise ValueError(f"tokenizer {folder}: expected a file with its tokens, got none of {', '.join(sorted(names))}")
    if isinstance(tokenizer.chat_template, str):
        tokenizer.chat_template = tokenizer.chat_template.removeprefix("\ufeff")  # a byte-order mark of its file
    return tokenizer


def load_vocabulary(folder: str | Path) -> TokenizerVocabulary:
    """Return the vocabulary of the tokenizer in a folder, of a model or its own; raises as `load_tokenizer` does.

    An adapter that others have written may have none beside it: then it is its base's.
    """
    folder = Path(folder)
    if is_adapter(folder) and not any((folder / name).is_file() for name in (*VOCABULARY_FILES, CONFIG_FILE)):
        folder = base_of(folder)
    return TokenizerVocabulary(load_tokenizer(folder))


def has_tokenizer(folder: Path) -> bool:
    """Whether the files of a tokenizer lie in a folder."""
    return any((folder / name).is_file() for name in (*VOCABULARY_FILES, CONFIG_FILE))


def are_alike(first: PreTrainedTokenizerBase, second: PreTrainedTokenizerBase) -> bool:
    """Whether two tokenizers cut all texts alike, and lay conversations out alike."""
    parts = []
    for one in (first, second):
        backend = getattr(one, "backend_tokenizer", None)
        parts.append((one.chat_template, one.special_tokens_map, one.get_vocab(), backend and backend.to_str()))
    return parts[0] == parts[1]


def require_tokens(folder: Path, vocabulary: Vocabulary, what: str = "model") -> None:
    """Refuse a model whose token ids mean something else in the game: other words, or another tokenizer.

    Args:
        folder: of the model; beside it lie the words or the tokenizer that it was made for, or neither.
        vocabulary: the game's.
        what: the model, for the message.

    Raises:
        ValueError: naming the first difference.
    """
    path = folder / WORDS_FILE
    words = checked_words(read_json(path).get("words"), path) if path.is_file() else None
    tokenizer = next((name for name in (*VOCABULARY_FILES, CONFIG_FILE) if (folder / name).is_file()), None)
    if words is not None:
        if isinstance(vocabulary, TokenizerVocabulary):
            raise ValueError(f"{what} {folder}: expected one that reads text, got one of {len(words)} words")
        require_words(f"{what} {folder}", words, vocabulary)
    elif tokenizer is not None and isinstance(vocabulary, WordVocabulary):
        raise ValueError(
            f"{what} {folder}: expected a model of the game's {vocabulary.size} words, got one that reads text by a "
            f"tokenizer of its own, {tokenizer}"
        )
    if tokenizer is not None and isinstance(vocabulary, TokenizerVocabulary):
        _require_tokenizer(folder, vocabulary, what)


def _require_tokenizer(folder: Path, vocabulary: TokenizerVocabulary, what: str) -> None:
    """Refuse a model whose own tokenizer has other tokens at the same ids as the game's; one may have more."""
    own, asked = load_tokenizer(folder), vocabulary.tokenizer
    ids = list(range(min(len(own), len(asked))))
    pairs = enumerate(zip(*(tokenizer.convert_ids_to_tokens(ids) for tokenizer in (own, asked)), strict=True))
    number, other = next(((number, pair) for number, pair in pairs if pair[0] != pair[1]), (-1, None))
    if other is not None:
        raise ValueError(
            f"{what} {folder}: expected the game's tokenizer, of {len(asked)} tokens, got another, of {len(own)}: "
            f"token {number} is {other[1]!r} in the game and {other[0]!r} there"
        )


def _is_plain(folder: Path) -> bool:
    """Return whether a tokenizer is its tokenizer.json and nothing else.

    Transformers takes Qwen's class all the same if the model beside it is of Qwen's architecture, and cuts texts as
    Qwen does.
    """
    path = folder / CONFIG_FILE
    config = read_json(path) if path.is_file() and (folder / TOKENIZER_FILE).is_file() else {}
    return config.get("tokenizer_class") in PLAIN_CLASSES and "auto_map" not in config


def _require_config(path: Path, *, any_class: bool) -> None:
    """Refuse a configuration that names no tokenizer, or whose chat template is none.

    A class of another kind would be loaded too: of a model with its weights.
    """
    if not path.is_file():
        return
    config = read_json(path)
    name, template = config.get("tokenizer_class"), config.get("chat_template")
    if name is not None and not (isinstance(name, str) and (any_class or name.endswith(CLASS_ENDINGS))):
        raise ValueError(f"{path}: expected a tokenizer_class such as 'PreTrainedTokenizerFast', got {name!r}")
    named = template if isinstance(template, list) else [{"name": "default", "template": template or ""}]
    if isinstance(template, dict):
        named = [{"name": name, "template": text} for name, text in template.items()]
    for one in named:
        if not (isinstance(one, dict) and all(isinstance(one.get(key), str) for key in ("name", "template"))):
            raise ValueError(f"{path}: expected a chat_template of text, or named ones, got {short(repr(one))}")


def _require_json(folder: Path) -> None:
    """Raise ValueError for the first file of a tokenizer that holds no JSON object."""
    for name in JSON_FILES:
        if (folder / name).is_file():
            read_json(folder / name)


PAD, BEGIN, END = "<|pad|>", "<|begin|>", "<|end|>"

ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>")

CHAT_TEMPLATE = (
    "<|begin|>{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train_tokenizer(texts: Iterable[str], *, vocab_size: int = 4096) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer with a chat template and one special token for each of its marks.

    The padding token has id 0. A pair of texts is encoded for a classifier as `<|begin|> a <|end|> b
    <|end|>`.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        show_progress=False,
        special_tokens=[PAD, BEGIN, END, *ROLE_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(texts, trainer)
    marks = [(mark, tokenizer.token_to_id(mark)) for mark in (BEGIN, END)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair=f"{BEGIN} $A {END} $B:1 {END}:1", special_tokens=marks
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        additional_special_tokens=list(ROLE_TOKENS),
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
