"""A game of words as one of text: the same deals, turns and payoffs, told and said in sentences.

Every legal turn of the game inside has one text or several, its forms. They are cut into tokens, closed by the token
that ends a turn, and laid out as a trie: after a prefix those tokens are legal by which some form goes on. So a chat
model that is masked can say what the rules allow and nothing else, and the game stays small enough to enumerate. A
listener hears the first form, however it was said.

What a policy of the game inside does, one of the spoken game can do as well, and the other way round, whatever forms it
uses: NashConv and values are the same. What is *uniform* need not be, where forms share their first tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..game import PLAYERS, DealT, Dialogue, LanguageGame, Turn, check_count
from ..vocabulary import Tokens, Vocabulary
from ..wrappers.wrapped import WrappedGame
from .prompts import Prompts

UNREADABLE = "forfeit: it cannot be read"
"""The remark on a turn that is none."""
Trie = dict[Tokens, Tokens]
"""What may follow each prefix of a turn."""


class Spoken(WrappedGame[DealT, DealT]):
    """The same game, in sentences.

    >>> from duologue.envs import WordVocabulary, make_game
    >>> from duologue.envs.spoken import prompts_for
    >>> kuhn = make_game("kuhn_poker-v0")
    >>> class Letters(WordVocabulary):  # a token for each letter, in place of a tokenizer
    ...     def encode(self, text):
    ...         return super().encode(" ".join(text.replace(" ", "_")))
    ...     def decode(self, tokens):
    ...         return super().decode(tokens).replace(" ", "").replace("_", " ")
    >>> import string
    >>> game = Spoken(kuhn, Letters(list(string.ascii_letters + string.punctuation)), prompts_for("kuhn_poker-v0"))
    >>> game.vocabulary.decode(game.legal_tokens(Dialogue(("king", "jack")), ()))
    'CB'
    >>> game.rewards(Dialogue(("king", "jack"), tuple(map(game.vocabulary.encode, ("Bet", "Call")))))
    (2.0, -2.0)
    """

    def __init__(
        self,
        game: LanguageGame[DealT],
        vocabulary: Vocabulary,
        prompts: Prompts[Any],
        *,
        num_forms: int = 1,
        free: bool = False,
    ) -> None:
        """Cut all texts into tokens.

        Args:
            game: rules whose deals can be listed, and whose turns: they name what may be said, and have no thoughts
                (`WithThoughts` goes around this one).
            vocabulary: the tokens of the text, a `TokenizerVocabulary`.
            prompts: the texts; `prompts_for` returns those that come with the package.
            num_forms: how many forms of a turn may be said, the first first; each makes the game's tree larger, as
                who speaks knows which it said. With `free` all may be.
            free: let anything be said, up to the length of the longest form. A turn is then read as text, case, blanks
                around it and a full stop apart; what is no form of a legal turn forfeits by the game's own rules.

        Raises:
            ValueError: the game is none of that kind, a turn or an announcement has no text, or a text cannot be said
                in these tokens or is that of two turns.
        """
        super().__init__(game)
        check_count("num_forms", num_forms)
        name, outcomes = type(game).__name__, game.deals.outcomes()
        if outcomes is None or game.max_thought_tokens:
            raise ValueError(f"Spoken({name}): expected a game without thoughts whose deals can be listed")
        self.vocabulary, self.deals, self.prompts, self.free = vocabulary, game.deals, prompts, free
        said = {game.vocabulary.encode(words): texts for words, texts in prompts.turns(game).items()}
        self._words_of_text = _inverted(_plain, said)
        kept = {words: texts if free else texts[:num_forms] for words, texts in said.items()}
        self._forms = {
            words: tuple(dict.fromkeys(_sayable(vocabulary, text) for text in texts)) for words, texts in kept.items()
        }
        self._words = _inverted(tuple, self._forms)
        announced = prompts.announcements(game)
        self._announced = {game.vocabulary.encode(words): vocabulary.encode(text) for words, text in announced.items()}
        self._briefings = {
            (deal, player): vocabulary.encode(prompts.briefing(game, deal, player))
            for deal in outcomes
            for player in PLAYERS
        }
        self.max_briefing_tokens = max(map(len, self._briefings.values()))
        self.max_announcement_tokens = max(map(len, self._announced.values()), default=0)
        self.max_turn_tokens = 1 + max(map(len, self._words))
        self._tries: dict[tuple[Tokens, ...], Trie] = {}

    @property
    def vocabularies(self) -> tuple[Vocabulary, Vocabulary]:
        """Both players read and speak the text, not the words of the game inside."""
        return self.vocabulary, self.vocabulary

    def inner(self, dialogue: Dialogue[DealT]) -> Dialogue[DealT]:
        """Return the dialogue in words.

        Raises:
            ValueError: a turn cannot be read.
        """
        inside: Dialogue[DealT] = Dialogue(dialogue.deal)
        for turn in dialogue.turns:
            words = self._read(inside, turn.tokens)
            if words is None:
                raise ValueError(f"turn: expected one that can be said, got {self.vocabulary.decode(turn.tokens)!r}")
            inside = inside.extend(Turn(words, player=turn.player))
        return inside

    def is_forfeit(self, dialogue: Dialogue[DealT]) -> bool:
        """Whether the last turn was said freely and cannot be read."""
        if not (self.free and dialogue.turns):
            return False
        before = self.inner(dialogue.upto(len(dialogue.turns) - 1))
        return self._read(before, dialogue.turns[-1].tokens) is None

    def next_player(self, dialogue: Dialogue[DealT]) -> int | None:
        """Return who speaks next, nobody after a turn that cannot be read."""
        return None if self.is_forfeit(dialogue) else super().next_player(dialogue)

    def rewards(self, dialogue: Dialogue[DealT]) -> tuple[float, float]:
        """Return what the rules inside pay, for a turn that cannot be read as for any forfeit."""
        if self.is_forfeit(dialogue):
            before = self.inner(dialogue.upto(len(dialogue.turns) - 1))
            return self.forfeit_rewards(self.game.next_player(before) or 0)
        return super().rewards(dialogue)

    def rewards_batch(self, dialogues: Sequence[Dialogue[DealT]]) -> Sequence[tuple[float, float]]:
        """Return the same for many; a judge inside is asked once."""
        forfeits = [self.is_forfeit(dialogue) for dialogue in dialogues]
        judged = iter(super().rewards_batch([d for d, forfeit in zip(dialogues, forfeits, strict=True) if not forfeit]))
        return [self.rewards(d) if forfeit else next(judged) for d, forfeit in zip(dialogues, forfeits, strict=True)]

    def turn_limit(self, dialogue: Dialogue[DealT]) -> int:
        """Return the length of the longest form and one token more, so that every turn is closed by its speaker."""
        return self.max_turn_tokens

    def legal_tokens(self, dialogue: Dialogue[DealT], prefix: Tokens) -> Tokens | None:
        """Return by which tokens some form of a legal turn goes on; None where anything may be said."""
        if self.free:
            return None
        turns = tuple(self._turns(self.inner(dialogue)))
        trie = self._tries.get(turns)
        if trie is None:
            trie = self._tries[turns] = _trie((self._forms[words] for words in turns), self.vocabulary.eos_id)
        return trie.get(tuple(prefix), ())

    def briefing(self, deal: DealT, player: int) -> Tokens:
        """Return the rules, and what the player was dealt."""
        return self._briefings[deal, player]

    def hears(self, dialogue: Dialogue[DealT], player: int) -> Tokens | None:
        """Return the first form of what the rules inside let the player hear, None of a turn that cannot be read."""
        words = None if self.is_forfeit(dialogue) else self.game.hears(self.inner(dialogue), player)
        return None if words is None else self._forms_of(words)[0]

    def announcement(self, dialogue: Dialogue[DealT], player: int) -> Tokens:
        """Return the text of what the rules inside announce."""
        words = () if self.is_forfeit(dialogue) else self.game.announcement(self.inner(dialogue), player)
        if words and words not in self._announced:
            raise ValueError(f"{self._prompts}.announcements: expected a text for {self._shown(words)}, got none")
        return self._announced[words] if words else ()

    def annotate(self, dialogue: Dialogue[DealT]) -> str:
        """Return the remark of the rules inside, or that a turn cannot be read."""
        return UNREADABLE if self.is_forfeit(dialogue) else super().annotate(dialogue)

    def _read(self, inside: Dialogue[DealT], tokens: Tokens) -> Tokens | None:
        """Return the words of a turn that is said after `inside`, None if it is none."""
        if not self.free:
            return self._words.get(tokens)
        words = self._words_of_text.get(_plain(self.vocabulary.decode(tokens)))
        return words if words in set(self._turns(inside)) else None

    def _turns(self, inside: Dialogue[DealT], prefix: Tokens = ()) -> Iterator[Tokens]:
        """Yield every legal turn in words."""
        if len(prefix) == self.game.turn_limit(inside):
            self._forms_of(prefix)
            yield prefix
            return
        legal = self.game.legal_tokens(inside, prefix)
        if legal is None:
            raise ValueError(f"Spoken({type(self.game).__name__}): expected rules that name what may be said, got none")
        for token in legal:
            if token != self.game.vocabulary.eos_id:
                yield from self._turns(inside, (*prefix, token))
            elif self._forms_of(prefix):
                yield prefix

    def _forms_of(self, words: Tokens) -> tuple[Tokens, ...]:
        if words not in self._forms:
            raise ValueError(f"{self._prompts}.turns: expected a text for {self._shown(words)}, got none")
        return self._forms[words]

    def _shown(self, words: Tokens) -> str:
        return repr(self.game.vocabulary.decode(words))

    @property
    def _prompts(self) -> str:
        return type(self.prompts).__name__


def _plain(text: str) -> str:
    """Return a text by which turns are told apart when they are said freely."""
    return text.strip().removesuffix(".").casefold()


def _sayable(vocabulary: Vocabulary, text: str) -> Tokens:
    """Return the tokens of a form; ValueError if they may not be said, or are those of another text."""
    tokens = vocabulary.encode(text)
    if not tokens or _plain(vocabulary.decode(tokens)) != _plain(text) or not vocabulary.sayable_mask[[*tokens]].all():
        raise ValueError(f"turns: expected texts that can be said in the vocabulary's tokens, got {text!r}")
    return tokens


def _inverted(key: Any, forms: Mapping[Tokens, Sequence[Any]]) -> dict[Any, Tokens]:
    """Return the words by their forms, under a key of these; ValueError where two turns have one."""
    found: dict[Any, Tokens] = {}
    for words, texts in forms.items():
        for text in texts:
            if found.setdefault(key(text), words) != words:
                raise ValueError(f"turns: expected another text for each turn, got {text!r} for two")
    return found


def _trie(forms: Iterator[tuple[Tokens, ...]], eos_id: int) -> Trie:
    """Return what may follow each prefix of the forms, each of which is closed."""
    following: dict[Tokens, dict[int, None]] = {}
    for of_turn in forms:
        for tokens in of_turn:
            closed = (*tokens, eos_id)
            for length, token in enumerate(closed):
                following.setdefault(closed[:length], {})[token] = None
    return {prefix: tuple(tokens) for prefix, tokens in following.items()}
