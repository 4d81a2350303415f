"""What a result cost: episodes, tokens said and tokens learnt, queries to judges and preference models, seconds."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from ...envs import Dialogue, Ending, LanguageGame, Speaker, Turn, Utterance, View
from ..rollouts.episodes import PlayedEpisode
from ..rollouts.seconds import part, taken
from .run import Record, Run
from .state import StateValue
from .watchers import Watcher

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")
RecordT = TypeVar("RecordT")
GameT = TypeVar("GameT", bound=LanguageGame[Any])
COSTS_FILE = "costs.json"
"""In a run's folder: what its training cost, resumptions included; evaluation after the last step is not part of it."""
SECONDS_FILE = "seconds.json"
"""In a run's folder: where the time of its last process went, as to rollouts, the judge within them, gradient steps."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Counted from the start of a run; they add up.

    >>> Costs(episodes=2, tokens=10) + Costs(episodes=1, seconds=0.5)
    Costs(episodes=3, tokens=10, judge_queries=0, preference_queries=0, cloned_tokens=0, seconds=0.5)
    """

    episodes: int = 0
    tokens: int = 0
    """Sampled by either player, thoughts and `<eos>` included."""
    judge_queries: int = 0
    """Dialogues that a judge or a reward model read; a game's own oracle is neither."""
    preference_queries: int = 0
    """Pairs that were compared, also by whoever labelled them beforehand."""
    cloned_tokens: int = 0
    """Tokens of given dialogues that were learnt, in cloning and by PPO-ptx, each as often as it was in a loss."""
    seconds: float = 0.0
    """Wall-clock time of what was timed."""

    def __add__(self, other: Costs) -> Costs:
        """Pool the costs of two parts."""
        return Costs(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


def play_costs(played: Iterable[PlayedEpisode]) -> Costs:
    """Return the episodes and the tokens of finished play."""
    lengths = [sum(len(turn.utterance.tokens) for turn in episode.turns) for episode in played]
    return Costs(episodes=len(lengths), tokens=sum(lengths))


class QueryCounter(Generic[ItemT, AnswerT]):
    """A batched callable, such as a judge, that counts what it is asked; it answers as the one inside does.

    >>> judge = QueryCounter(lambda exchanges: [0.0 for _ in exchanges])
    >>> judge(["a", "b"]), judge(["c"]), judge.num_queries, judge.num_calls
    ([0.0, 0.0], [0.0], 3, 2)
    """

    def __init__(self, asked: Callable[[Sequence[ItemT]], Sequence[AnswerT]]) -> None:
        """Wrap a callable that maps a batch to one answer each."""
        self.asked = asked
        self.num_queries = 0
        """Items in all."""
        self.num_calls = 0
        """Batches."""

    def __call__(self, items: Sequence[ItemT]) -> Sequence[AnswerT]:
        """Count a batch and pass it on; a call that raises counts as well."""
        self.num_calls += 1
        self.num_queries += len(items)
        with part("judge"):
            return self.asked(items)


class CountedSpeaker:
    """A speaker that replies once to given prompts: each reply is an episode, and its tokens were sampled."""

    def __init__(self, speaker: Speaker, meter: CostMeter) -> None:
        """Take who replies, and who counts."""
        self._speaker, self._meter = speaker, meter

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Let the speaker reply, and count."""
        said = self._speaker.speak(views, rng)
        self._meter.add(Costs(episodes=len(said), tokens=sum(len(utterance.tokens) for utterance in said)))
        return said


class CostMeter(Watcher):
    """Counts what one run costs; its state is saved with the run's, so that a resumed run goes on counting.

    >>> meter = CostMeter()
    >>> judge = meter.judge(lambda exchanges: [0.0 for _ in exchanges])
    >>> [record for record in meter.timed(["one step"])], judge(["an exchange"])
    (['one step'], [0.0])
    >>> meter.costs.judge_queries
    1
    """

    name = "costs"
    saved = ("costs",)

    def __init__(self) -> None:
        """Start at 0."""
        self._counted, self._started, self._seconds_before = Costs(), 0.0, taken()
        self._judges: list[Callable[[], int]] = []
        self._preferences: list[Callable[[], int]] = []
        self._cloned: list[Callable[[], int]] = []

    @property
    def costs(self) -> Costs:
        """All that has been counted so far."""
        return self._counted + Costs(
            judge_queries=sum(count() for count in self._judges),
            preference_queries=sum(count() for count in self._preferences),
            cloned_tokens=sum(count() for count in self._cloned),
        )

    def add(self, costs: Costs) -> None:
        """Count what was measured elsewhere."""
        self._counted += costs

    def add_play(self, played: Iterable[PlayedEpisode]) -> None:
        """Count the episodes and tokens of a rollout."""
        self.add(play_costs(played))

    def judge(self, judge: Callable[[Sequence[ItemT]], Sequence[AnswerT]]) -> QueryCounter[ItemT, AnswerT]:
        """Return the judge, or reward model, with its queries counted here; give that one to the game."""
        counter = QueryCounter(judge)
        self._judges.append(lambda: counter.num_queries)
        return counter

    def preference(self, preference: Callable[[Sequence[ItemT]], Sequence[AnswerT]]) -> QueryCounter[ItemT, AnswerT]:
        """Return the preference model with the pairs that it compares counted here."""
        counter = QueryCounter(preference)
        self._preferences.append(lambda: counter.num_queries)
        return counter

    def cloning(self, num_tokens: Callable[[], int]) -> None:
        """Count what somebody learns of given dialogues; `num_tokens` returns it, from 0 where that one was made."""
        self._cloned.append(num_tokens)

    @contextmanager
    def clock(self) -> Iterator[None]:
        """Count the seconds that the block takes, even if it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(Costs(seconds=time.perf_counter() - start))

    def before(self) -> None:
        """Start the clock of a step."""
        self._started = time.perf_counter()

    def after(self, step: Record) -> None:
        """Count the seconds of the step, and not of whoever reads it."""
        self.add(Costs(seconds=time.perf_counter() - self._started))

    def close(self, run: Run) -> None:
        """Write what training has cost."""
        run.write_json(COSTS_FILE, self.costs)
        before = self._seconds_before
        run.write_json(SECONDS_FILE, {name: seconds - before.get(name, 0.0) for name, seconds in taken().items()})

    def timed(self, steps: Iterable[RecordT]) -> Iterator[RecordT]:
        """Yield the records of a learner, and count the seconds of its steps but not of whoever reads them."""
        iterator = iter(steps)
        while True:
            with self.clock():
                try:
                    record = next(iterator)
                except StopIteration:
                    return
            yield record

    def state_dict(self) -> dict[str, StateValue]:
        """Return what has been counted."""
        return asdict(self.costs)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state, which takes the place of all that this meter has counted so far."""
        saved = Costs(*(type(getattr(Costs(), name))(state[name]) for name in Costs.__slots__))
        asked = [sum(count() for count in counts) for counts in (self._judges, self._preferences, self._cloned)]
        self._counted = replace(
            saved,
            judge_queries=saved.judge_queries - asked[0],
            preference_queries=saved.preference_queries - asked[1],
            cloned_tokens=saved.cloned_tokens - asked[2],
        )


def metered_game(game: GameT, meter: CostMeter) -> GameT:
    """Return the same rules, of the same class, whose play is counted, whoever plays and in whatever form.

    An episode is counted when it ends, a turn's tokens when the rules pay for it. In a forfeited turn the rules do not
    hear what was said, so that its tokens alone are missing. An opening that several episodes share is counted as often
    as the rules are asked about it: its tokens once, an episode that is forfeited in it once more.

    >>> import numpy as np
    >>> from duologue.envs import RandomAgent, make_game
    >>> from duologue.baselines.rollouts.episodes import rollout
    >>> meter = CostMeter()
    >>> game = metered_game(make_game("matching_pennies-v0"), meter)
    >>> played = rollout(game, [RandomAgent()] * 2, 5, np.random.default_rng(0))
    >>> meter.costs.episodes, meter.costs.tokens
    (5, 10)
    """

    def count(dialogue: Dialogue[Any]) -> None:
        over = game.next_player(dialogue) is None
        meter.add(Costs(episodes=int(over), tokens=num_sampled(dialogue.turns[-1])))

    def rewards(dialogue: Dialogue[Any]) -> tuple[float, float]:
        pair = game.rewards(dialogue)
        count(dialogue)
        return pair

    def rewards_batch(dialogues: Sequence[Dialogue[Any]]) -> Sequence[tuple[float, float]]:
        pairs = game.rewards_batch(dialogues)
        for dialogue in dialogues:
            count(dialogue)
        return pairs

    def forfeit_rewards(player: int) -> tuple[float, float]:
        meter.add(Costs(episodes=1))
        return game.forfeit_rewards(player)

    counted = copy.copy(game)  # a wrapper would hide from learners that ask which kind of game it is, and what it has
    vars(counted).update(rewards=rewards, rewards_batch=rewards_batch, forfeit_rewards=forfeit_rewards, meter=meter)
    return counted


def meter_of(game: LanguageGame[Any]) -> CostMeter | None:
    """Return who counts what is played by these rules, and what is learnt of dialogues that they generate."""
    meter = vars(game).get("meter")
    return meter if isinstance(meter, CostMeter) else None


def num_sampled(turn: Turn) -> int:
    """Return how many tokens its speaker sampled: the turn's, its `<eos>`, and a thought with both its brackets.

    >>> num_sampled(Turn((9, 9), thought=(7,)))
    6
    """
    thought = len(turn.thought) + 2 if turn.thought else 0
    return len(turn.tokens) + thought + int(turn.ending is Ending.END_OF_TURN)
