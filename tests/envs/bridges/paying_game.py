"""A game in OpenSpiel's Python interface that pays at every turn."""

from typing import Any

import pytest

pyspiel = pytest.importorskip("pyspiel", reason="OpenSpiel is not installed")


class PayingState(pyspiel.State):  # type: ignore[misc,name-defined]
    """Three words, 0 or 1; a word of 1 pays player 0 what its turn counts, and player 1 half of that, at once."""

    def __init__(self, game: Any) -> None:
        super().__init__(game)
        self.said: list[int] = []

    def current_player(self) -> int:
        return int(pyspiel.PlayerId.TERMINAL) if self.is_terminal() else len(self.said) % 2

    def _legal_actions(self, player: int) -> list[int]:
        return [0, 1]

    def _apply_action(self, action: int) -> None:
        self.said.append(action)

    def _action_to_string(self, player: int, action: int) -> str:
        return f"say{action}"

    def is_terminal(self) -> bool:
        return len(self.said) == 3

    def returns(self) -> list[float]:
        paid = sum((k + 1.0) * word for k, word in enumerate(self.said))
        return [paid, paid / 2]

    def information_state_string(self, player: int) -> str:
        return " ".join(map(str, self.said))


class Paying(pyspiel.Game):  # type: ignore[misc,name-defined]
    """A game whose rewards come at every turn; OpenSpiel has no small one for two players."""

    def __init__(self, information: Any) -> None:
        kinds = pyspiel.GameType
        kind = pyspiel.GameType(
            short_name="paying",
            long_name="paying",
            dynamics=kinds.Dynamics.SEQUENTIAL,
            chance_mode=kinds.ChanceMode.DETERMINISTIC,
            information=information,
            utility=kinds.Utility.GENERAL_SUM,
            reward_model=kinds.RewardModel.REWARDS,
            max_num_players=2,
            min_num_players=2,
            provides_information_state_string=True,
            provides_information_state_tensor=False,
            provides_observation_string=False,
            provides_observation_tensor=False,
            parameter_specification={},
        )
        info = pyspiel.GameInfo(
            num_distinct_actions=2,
            max_chance_outcomes=0,
            num_players=2,
            min_utility=0.0,
            max_utility=6.0,
            utility_sum=None,
            max_game_length=3,
        )
        super().__init__(kind, info, {})

    def new_initial_state(self) -> PayingState:
        return PayingState(self)
