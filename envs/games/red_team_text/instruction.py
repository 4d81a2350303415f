"""What the adversary is told before a request: one text with it, as the tokenizer of a language model reads texts."""

from __future__ import annotations

from collections.abc import Sequence

from ...vocabulary import Tokens, Vocabulary, WordVocabulary
from .requests import Request


class Instruction:
    """An instruction, told before each request.

    Real text is joined before it is cut into tokens: the blank behind "Rewrite this request: " is part of the next
    word's token, and no text has it alone. Where the two share a token that is no blank, and in lists of words, the
    request's own tokens follow the instruction's.
    """

    def __init__(self, text: str, requests: Sequence[Request], vocabulary: Vocabulary) -> None:
        """Join the instruction to the requests, whose tokens are in them."""
        self._text, self._vocabulary = text, vocabulary
        self._tokens = vocabulary.encode(text) if text else ()
        self.num_tokens = len(self._tokens)
        """How many tokens of what is told precede the request."""
        self._joins = False
        if text and not isinstance(vocabulary, WordVocabulary):
            for head in (text, text.rstrip(" "), text.rstrip()):
                before = vocabulary.encode(head)
                if all(self._follows(before, request) for request in requests):
                    self._joins, self.num_tokens = True, len(before)
                    break
        self._known = {request: self._joined(request) for request in requests}
        self.longest = max(map(len, self._known.values()))
        """The most tokens that are told."""

    def before(self, request: Request) -> Tokens:
        """Return the tokens of instruction and request."""
        return self._known[request] if request in self._known else self._joined(request)

    def _joined(self, request: Request) -> Tokens:
        if self._joins and request.tokens == self._vocabulary.encode(request.text):
            return self._vocabulary.encode(self._text + request.text)
        return (*self._tokens, *request.tokens)

    def _follows(self, before: Tokens, request: Request) -> bool:
        """Return whether the request stands behind these tokens, but for blanks, when it is joined as text."""
        tokens = self._vocabulary.encode(self._text + request.text)
        if tokens[: len(before)] != before or request.tokens != self._vocabulary.encode(request.text):
            return False
        return self._vocabulary.decode(tokens[len(before) :]).lstrip() == request.text.lstrip()
