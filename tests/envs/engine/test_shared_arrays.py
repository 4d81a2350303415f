"""What many episodes share is read-only; what is handed out to keep is a copy of its own."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from duologue.envs import (
    Dialogue,
    Episode,
    FiniteDeals,
    LanguageGame,
    LanguageGameEnv,
    SinglePlayerEnv,
    TurnLevelEnv,
    make_game,
    registered_games,
)
from duologue.envs.batched.game import BatchedGame
from duologue.envs.engine.turn import masks_of
from duologue.envs.games.bluff import Bluff
from duologue.envs.interfaces.mask_to_info import GymnasiumMaskToInfo, MaskToInfo
from duologue.envs.interfaces.vector import LanguageGameVectorEnv
from duologue.envs.tree.game_tree import GameTree
from duologue.tests.envs.helpers import RED, VOCABULARY, Whisper

READ_ONLY = "read-only"


def num_legal(game: LanguageGame[Any]) -> int:
    """Return how many tokens a fresh episode lets its first speaker say."""
    env = LanguageGameEnv(game)
    env.reset(seed=1)
    return int(env.observe(env.agent_selection)["action_mask"].sum())


@pytest.mark.parametrize("name", registered_games())
def test_an_agent_that_writes_into_its_mask_is_stopped(name: str) -> None:
    """The mask of `view.legal_mask` is shared by all episodes of the game, or belongs to its open turn."""
    game = make_game(name)
    before = num_legal(game)
    view = Episode(game, game.deals.sample(np.random.default_rng(0))).view()
    mask = view.legal_mask(())
    with pytest.raises(ValueError, match=READ_ONLY):
        mask[:] = 1
    with pytest.raises(ValueError, match=READ_ONLY):
        np.logical_not(mask, out=mask)
    view.tokens[:] = 0  # its own copy
    assert num_legal(game) == before


def test_all_constant_masks_and_ids_are_read_only() -> None:
    """With thoughts there are five masks and three lists of ids."""
    arrays = [array for array in vars(masks_of(Whisper())).values() if isinstance(array, np.ndarray)]
    assert len(arrays) == 8
    view = Episode(Whisper(), "red").view()
    ids: Any = [view.legal_tokens(prefix) for prefix in ((), (VOCABULARY.think_ids[0],))]
    assert not any(array.flags.writeable for array in (*arrays, *ids))


def test_the_batched_engines_arrays_are_read_only() -> None:
    """Who writes into them would play another game; what they hold goes on under the reader's eyes, as before."""
    plays = BatchedGame(Whisper(), 3, seed=0)
    for name in ("views", "lengths", "player", "rewards", "returns", "finished", "final_returns", "forfeited_by"):
        array = getattr(plays, name)
        with pytest.raises(ValueError, match=READ_ONLY):
            array[:] = 1
        with pytest.raises(AttributeError):
            setattr(plays, name, array)
    masks, views = plays.legal_masks(), plays.views
    masks[:] = 0
    plays.step([RED] * 3)
    assert (plays.forfeited_by == -1).all()
    assert (views == plays.views).all()


def test_a_trees_arrays_are_read_only() -> None:
    """All solvers on one tree read them, and the tables' derived ones."""
    tree = GameTree(Bluff())
    tables = [tree.tables[player] for player in (0, 1)]
    derived = [array for table in tables for array in (table.num_legal, table.infostate_of)]
    arrays = [array for shared in (tree, *tables) for array in vars(shared).values() if isinstance(array, np.ndarray)]
    assert len(arrays) >= 20
    assert not any(array.flags.writeable for array in (*arrays, *derived))
    assert all(tree.tables[0].uniform().flags.writeable for _ in range(2))


def observations() -> list[Any]:
    """Return what each form hands to a library that learns, masks included."""
    aec, by_turns, masked = (make(Whisper()) for make in (LanguageGameEnv, TurnLevelEnv, aec_with_infos))
    for env in (aec, by_turns, masked):
        env.reset(seed=0)
    single, parted = SinglePlayerEnv(Whisper()), GymnasiumMaskToInfo(SinglePlayerEnv(Whisper()))
    vector = LanguageGameVectorEnv(Whisper(), 2)
    found: list[Any] = [aec.state(), by_turns.observe("player_0"), masked.observe("player_1")]
    found += [masked.infos["player_0"]["action_mask"], masked.infos["player_1"]["action_mask"]]
    found += [aec.observe(agent) for agent in ("player_0", "player_1")]
    (seen, _), (view, info), (views, _) = single.reset(seed=0), parted.reset(seed=0), vector.reset(seed=0)
    found += [seen, single.action_masks(), view, info["action_mask"], views, *single.step(RED)[:1]]
    found += [*vector.step([RED, RED])[:3], *GameTree(Bluff()).observations(0)]
    arrays = [array for one in found for array in (one.values() if isinstance(one, dict) else (one,))]
    assert len(arrays) > 20
    return arrays


def aec_with_infos(game: LanguageGame[Any]) -> Any:
    """Return the AEC form with its masks in the infos."""
    return MaskToInfo(LanguageGameEnv(game))


def test_observations_are_writable_copies_that_torch_takes_without_a_warning() -> None:
    """`torch.from_numpy` warns of read-only arrays; and what a learner does to its copy is its own business."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for array in observations():
            torch.from_numpy(array)
            torch.as_tensor(array)
    before = [array.copy() for array in observations()]
    for array in observations():
        array[...] = 1
    assert all((array == again).all() for array, again in zip(before, observations(), strict=True))


def test_the_callers_table_of_deals_is_copied_and_the_games_is_read_only() -> None:
    """A dict that is filled in later, or a listing that is written into, changes no game."""
    table = {"red": 0.5, "blue": 0.5}
    deals = FiniteDeals(table)
    table["green"] = 1.0
    assert dict(deals.outcomes()) == {"red": 0.5, "blue": 0.5}
    with pytest.raises(TypeError, match="does not support item assignment"):
        deals.outcomes()["red"] = 1.0  # type: ignore[index]


def test_what_a_caller_does_to_an_environments_lists_stays_there() -> None:
    """Agents and rewards are each environment's own; turns may come in a list, which is copied."""
    first, second = LanguageGameEnv(Bluff()), LanguageGameEnv(Bluff())
    first.possible_agents.clear()
    first.reset(seed=0)
    first.agents.append("player_9")
    second.reset(seed=0)
    assert (second.possible_agents, second.agents) == (["player_0", "player_1"], ["player_0", "player_1"])
    turns: Any = [(RED,)]
    dialogue = Dialogue("red", turns)
    turns.append((RED,))
    assert len(dialogue.turns) == 1
    assert hash(dialogue) == hash(Dialogue("red", ((RED,),)))
    same: Any = list(dialogue.turns)
    assert Dialogue("red", same) == dialogue
    assert hash(Dialogue("red", same)) == hash(dialogue)
