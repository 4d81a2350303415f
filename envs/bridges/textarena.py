"""TextArena both ways: its two-player games as language games, and language games as its environments.

`from_textarena` plays a game of TextArena (L. Guertler et al., *TextArena*, arXiv 2504.11442, 2025) with token actions.
The deal is the seed of all that it draws: TextArena draws from Python's global generator and its games from that or
numpy's, which are lent to it and put back (`generators.py`). A position is a copy of the environment. What TextArena
tells a player is announced to it, and nothing else is.

`to_textarena` gives an object with TextArena's `reset`, `step`, `get_observation` and `close`, whose actions are texts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.episode import Episode, speak_all
from ..engine.views import Utterance
from ..extras import from_extra
from ..game import Dialogue, Ending, LanguageGame, Payoff, SampledDeals, check_whole
from ..vocabulary import Tokens, Vocabulary
from .generators import GeneratorStates, generator_states, lent_generators

if TYPE_CHECKING:
    import textarena

MAX_CACHED = 1024
NUM_SEEDS = 2**31

Translate = Callable[[str], str]
"""From one wording to another."""


@dataclass(frozen=True, slots=True)
class _Position:
    """A copy of TextArena's environment after some turns."""

    env: Any
    generators: GeneratorStates
    """Where the global generators, as this episode is lent them, stand there."""
    told: tuple[str, str]
    """What each player was told since the turn before."""
    player: int | None
    rewards: tuple[float, float]
    legal: tuple[str, ...] = ()
    """What may be said, where that is read off the environment."""


class TextArenaGame(LanguageGame[int]):
    """A two-player game of TextArena; `from_textarena` makes it."""

    def __init__(
        self,
        make_env: Callable[[], textarena.Env],
        vocabulary: Vocabulary,
        *,
        listen: Translate,
        say: Translate,
        legal: Callable[[textarena.Env], Sequence[str]] | None,
        payoff: Payoff,
        max_turns: int,
        max_turn_tokens: int,
        max_told_tokens: int,
    ) -> None:
        """Take what `from_textarena` describes."""
        self._make_env, self._listen, self._say, self._legal = make_env, listen, say, legal
        self.vocabulary, self.payoff, self.max_turns, self.max_turn_tokens = (
            vocabulary,
            payoff,
            max_turns,
            max_turn_tokens,
        )
        self.max_briefing_tokens = self.max_announcement_tokens = max_told_tokens
        self.deals = SampledDeals(_draw_seed)
        self._cache: dict[tuple[int, tuple[Tokens, ...]], _Position] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the cache out of pickles."""
        return {**self.__dict__, "_cache": {}}

    def next_player(self, dialogue: Dialogue[int]) -> int | None:
        """Return who is to speak; None also after `max_turns`, where TextArena would go on."""
        return None if len(dialogue.turns) >= self.max_turns else self._position(dialogue).player

    def rewards(self, dialogue: Dialogue[int]) -> tuple[float, float]:
        """Return TextArena's rewards once the game is over, 0 before."""
        return self._position(dialogue).rewards

    def legal_tokens(self, dialogue: Dialogue[int], prefix: Tokens) -> Tokens | None:
        """Return what may follow `prefix` in one of the legal texts; None where TextArena is to judge."""
        if self._legal is None:
            return None
        said = [self.vocabulary.encode(text) for text in self._position(dialogue).legal]
        whole = [(*tokens, self.vocabulary.eos_id) for tokens in said]
        n = len(prefix)
        return tuple(dict.fromkeys(tokens[n] for tokens in whole if tokens[:n] == prefix and len(tokens) > n))

    def briefing(self, deal: int, player: int) -> Tokens:
        """Return what TextArena tells the player at the start."""
        return self.vocabulary.encode(self._position(Dialogue(deal)).told[player])

    def hears(self, dialogue: Dialogue[int], player: int) -> None:
        """Return None: TextArena repeats what a player is to hear."""
        return

    def announcement(self, dialogue: Dialogue[int], player: int) -> Tokens:
        """Return what TextArena tells the player after the last turn."""
        return self.vocabulary.encode(self._position(dialogue).told[player])

    def _position(self, dialogue: Dialogue[int]) -> _Position:
        key = (dialogue.deal, tuple(turn.tokens for turn in dialogue.turns))
        if key not in self._cache:
            position = self._after(dialogue) if dialogue.turns else self._start(dialogue.deal)
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            self._cache[key] = position
        return self._cache[key]

    def _start(self, deal: int) -> _Position:
        check_whole("deal", deal, least=0)
        with lent_generators(int(deal) % NUM_SEEDS):
            env = self._make_env()
            env.reset(num_players=2, seed=deal)
            return self._seen(env, None)

    def _after(self, dialogue: Dialogue[int]) -> _Position:
        before = self._position(dialogue.upto(len(dialogue.turns) - 1))
        with lent_generators(before.generators):
            env = copy.deepcopy(before.env)
            env.step(self._say(self.vocabulary.decode(dialogue.turns[-1].tokens)))
            return self._seen(env, before.player)

    def _seen(self, env: Any, speaker: int | None) -> _Position:
        state = env.state
        told = tuple(
            " ".join(self._listen(text) for author, text, *_ in state.observations[player] if author != speaker).strip()
            for player in (0, 1)
        )
        for player in (0, 1):
            state.observations[player] = []
        paid = state.rewards if state.done and state.rewards else {}
        legal = () if self._legal is None or state.done else tuple(self._legal(env))
        return _Position(
            env=env,
            generators=generator_states(),
            told=(told[0], told[1]),
            player=None if state.done else int(state.current_player_id),
            rewards=(float(paid.get(0, 0.0)), float(paid.get(1, 0.0))),
            legal=legal,
        )


def from_textarena(
    env: str | Callable[[], textarena.Env],
    vocabulary: Vocabulary,
    *,
    listen: Translate = str,
    say: Translate = "[{}]".format,
    legal: Callable[[textarena.Env], Sequence[str]] | None = None,
    payoff: Payoff = Payoff.ZERO_SUM,
    max_turns: int = 16,
    max_turn_tokens: int = 1,
    max_told_tokens: int = 64,
) -> TextArenaGame:
    """Return a two-player game of TextArena as a language game.

    Args:
        env: TextArena's name of it, best with "-raw", or what makes it.
        vocabulary: encodes what `listen` returns, and decodes what is said.
        listen: what is kept of a message of TextArena's, as text of the vocabulary; all of it by default.
        say: turns what a player said into TextArena's action, by default in brackets.
        legal: reads off the environment what may be said; None: anything, and TextArena judges it.
        payoff: how the rewards are related.
        max_turns: the most turns, after which nobody is paid.
        max_turn_tokens: the most tokens in a turn.
        max_told_tokens: the most tokens that a player is told at a time.

    Raises:
        ImportError: TextArena is not installed.
    """
    arena = _import_textarena()
    return TextArenaGame(
        partial(arena.make, env) if isinstance(env, str) else env,
        vocabulary,
        listen=listen,
        say=say,
        legal=legal,
        payoff=payoff,
        max_turns=max_turns,
        max_turn_tokens=max_turn_tokens,
        max_told_tokens=max_told_tokens,
    )


def to_textarena(game: LanguageGame[Any]) -> textarena.Env:
    """Return a language game as an environment of TextArena.

    An action is a text of the game's words. One that is no legal turn may be said again once, as is TextArena's custom;
    the second in a row forfeits the episode, at the game's cost.

    Raises:
        ImportError: TextArena is not installed.
    """

    class DuologueEnv(_TextForm, _import_textarena().Env):  # type: ignore[misc]
        """A language game behind TextArena's interface."""

    return DuologueEnv(game)


class _TextForm:
    """What TextArena asks of an environment; its base class is known only where TextArena is installed."""

    def __init__(self, game: LanguageGame[Any]) -> None:
        self.game = game

    def reset(self, num_players: int, seed: int | None = None) -> None:
        """Deal with a generator of its own; 2 players."""
        if num_players != 2:
            raise ValueError(f"num_players: expected 2, got {num_players}")
        game = self.game
        self.episode: Episode[Any] = Episode(game, game.deals.sample(np.random.default_rng(seed)))
        self.state = _import_textarena().TwoPlayerState(num_players=2)
        self.state.reset(game_state={}, player_prompt_function=self._prompt, role_mapping=dict(enumerate(game.roles)))
        self._heard = [0, 0]
        self._go_on()

    def step(self, action: str) -> tuple[bool, dict[str, Any]]:
        """Say a whole turn; return whether the game is over, and TextArena's info."""
        player = self.state.current_player_id
        utterance = _read(action, self.episode)
        if utterance is None:
            self.state.set_invalid_move(reason=f"expected legal words, got {action!r}.")
            if self.state.done:
                self.state.rewards = dict(enumerate(self.game.forfeit_rewards(player)))
        else:
            speak_all([self.episode], [utterance])
            self._go_on()
        done, info = self.state.step(rotate_player=False)
        return bool(done), info

    def _prompt(self, player_id: int, game_state: dict[str, Any]) -> str:
        game = self.game
        briefing = game.vocabulary.decode(game.briefing(self.episode.dialogue.deal, player_id))
        return f"You are the {game.roles[player_id]}." + (f" You are told: {briefing}." if briefing else "")

    def _go_on(self) -> None:
        """Tell what was said, name the next speaker, and end the game where it is over."""
        arena, episode, vocabulary = _import_textarena(), self.episode, self.game.vocabulary
        kinds = arena.ObservationType
        for player, messages in enumerate(episode.messages):
            for message in messages[self._heard[player] :]:
                said = message.speaker is not None
                author = message.speaker if said else arena.GAME_ID
                kind = kinds.PLAYER_ACTION if said else kinds.GAME_MESSAGE
                self.state.add_observation(vocabulary.decode(message.tokens), kind, author, player)
            self._heard[player] = len(messages)
        if episode.player is None:
            self.state.rewards, self.state.done = dict(enumerate(episode.returns)), True
            return
        self.state.manually_set_current_player_id(episode.player)
        words = episode.view().legal_tokens(())
        if words is not None:
            text = f"You may begin with: {', '.join(vocabulary.decode((int(word),)) for word in words)}."
            self.state.add_observation(text, kinds.GAME_BOARD, arena.GAME_ID, episode.player)


def _read(text: str, episode: Episode[Any]) -> Utterance | None:
    """Return a text as a turn, or None where it is no legal one."""
    view = episode.view()
    try:
        tokens = episode.game.vocabulary.encode(text.strip())
    except ValueError:
        return None
    said: Tokens = ()
    for token in tokens:
        if not view.legal_mask(said)[token]:
            return None
        said = (*said, token)
    if len(said) == view.max_turn_tokens:
        return Utterance(said, ending=Ending.TOO_LONG)
    return Utterance((*said, view.vocabulary.eos_id)) if view.legal_mask(said)[view.vocabulary.eos_id] else None


def _draw_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(NUM_SEEDS))


def _import_textarena() -> ModuleType:
    with from_extra("textarena", need="TextArena's games: expected textarena"):
        import textarena
    module: ModuleType = textarena
    return module
