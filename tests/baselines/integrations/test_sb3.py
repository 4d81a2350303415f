"""Policies of Stable-Baselines3: what they read, how they speak, and that they learn against a given opponent."""

import json
import random
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sb3_contrib import QRDQN, MaskablePPO, RecurrentPPO
from stable_baselines3 import DQN
from stable_baselines3.common.logger import Logger

from duologue.agents import RandomAgent, ScriptedAgent, load_agent
from duologue.agents.population import Population
from duologue.agents.sb3 import SB3Agent, TokenFeatures
from duologue.agents.tabular import policy_of, profile_of
from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.integrations.sb3 import SB3Config, SB3Learner, SB3Training, TrainSB3Config, train_sb3
from duologue.baselines.integrations.sb3_env import DialogueVecEnv
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.rollouts.trajectories import trajectories
from duologue.baselines.training.options import GameOptions
from duologue.baselines.training.run import read_metrics
from duologue.baselines.training.state import read_state, write_state
from duologue.envs import Observation, SinglePlayerEnv, WordVocabulary, make_game
from duologue.envs.games.bluff import BET, CALL, FOLD, Bluff
from duologue.envs.tree.analysis import GameTree, best_response, expected_returns, uniform_profile

SMALL = {"num_envs": 8, "tokens_per_env": 8, "minibatch_size": 32, "embedding_size": 8, "hidden_size": 16}
KUHN = make_game("kuhn_poker-v0")
_MASKED: Any = "maskable_ppo"


def learner(algorithm: Any = "maskable_ppo", *, game: Any = KUHN, opponent: Any = None, seed: int = 0) -> SB3Learner:
    """Return a small one at player 0."""
    config = SB3Config(algorithm=algorithm, **SMALL)
    opponent = RandomAgent() if opponent is None else opponent
    return SB3Learner(game, config, players=[0], seats=[opponent, opponent], seed=seed)


def test_the_bonus_for_entropy_is_the_library_s() -> None:
    """As its constructor has it."""
    learner = SB3Learner(KUHN, SB3Config(entropy_coef=0.25), players=[0], seats=[RandomAgent()] * 2, seed=0)
    assert learner.model.ent_coef == 0.25


@cache
def trained(algorithm: str) -> SB3Learner:
    """Return one that has learnt a little, so that it is not uniform."""
    one = learner(algorithm)
    for _ in range(3):
        one.update()
    return one


@cache
def kuhn_tree() -> GameTree:
    """Enumerate it once."""
    return GameTree(KUHN)


def tensors(observations: list[Observation]) -> dict[str, torch.Tensor]:
    """Return observations in the library's form."""
    return {
        "observation": torch.from_numpy(np.stack([one["observation"] for one in observations])),
        "action_mask": torch.from_numpy(np.stack([one["action_mask"] for one in observations])),
    }


def test_features_are_of_tokens_only_and_padding_is_zero() -> None:
    """The mask says nothing, and places behind the view add nothing to any linear layer, even after training."""
    features, observed = trained("maskable_ppo").model.policy.features_extractor, tensors(kuhn_tree().observations(0))
    assert isinstance(features, TokenFeatures)
    read = features(observed)
    unmasked = features({**observed, "action_mask": torch.zeros_like(observed["action_mask"])})
    assert torch.equal(read, unmasked)
    padding = observed["observation"] == 0
    places = read.unflatten(1, (-1, 8))
    assert padding.any()
    assert (places[padding] == 0).all()
    assert (places[~padding] != 0).any(1).all()


def test_gradients_reach_the_tokens_that_were_seen_and_no_others() -> None:
    """Padding has no gradient, so that it stays zero."""
    features = TokenFeatures(SinglePlayerEnv(Bluff()).observation_space, embedding_size=4)
    tokens = torch.zeros(1, 10)
    tokens[0, :2] = torch.tensor([5.0, 8.0])
    features({"observation": tokens, "action_mask": torch.zeros(1, 13)}).sum().backward()
    gradient = features.embedding.weight.grad
    assert gradient is not None
    assert gradient.abs().sum(1).nonzero().flatten().tolist() == [5, 8]


def test_features_refuse_another_space() -> None:
    """The message names it."""
    with pytest.raises(ValueError, match=r"observation_space: expected Dict\(action_mask, observation\), got Discrete"):
        TokenFeatures(gymnasium.spaces.Discrete(3))
    with pytest.raises(ValueError, match="embedding_size: expected at least 1, got 0"):
        TokenFeatures(SinglePlayerEnv(Bluff()).observation_space, embedding_size=0)


def test_agent_has_the_masked_models_own_distribution() -> None:
    """The probabilities are those that `MaskablePPO.predict` draws from."""
    one, observations = trained("maskable_ppo"), kuhn_tree().observations(0)
    observed = tensors(observations)
    masks = observed["action_mask"].numpy().astype(bool)
    with torch.no_grad():
        own = one.model.policy.get_distribution(observed, action_masks=masks).distribution  # type: ignore[call-arg]
    assert isinstance(own, torch.distributions.Categorical)
    said = one.agent.token_probabilities(observations)
    np.testing.assert_allclose(said, own.probs.numpy(), atol=1e-6)
    greedy, _ = one.model.predict({k: v.numpy() for k, v in observed.items()}, deterministic=True, action_masks=masks)  # type: ignore[call-arg]
    assert said.argmax(1).tolist() == greedy.tolist()


@pytest.mark.parametrize("algorithm", ["ppo", "a2c"])
def test_models_without_masks_are_renormalised_over_legal_tokens(algorithm: str) -> None:
    """P(token | legal) = p / sum of the legal ones' p, of the model's own p."""
    one, observations = trained(algorithm), kuhn_tree().observations(0)
    observed = tensors(observations)
    with torch.no_grad():
        own = one.model.policy.get_distribution(observed).distribution
    assert isinstance(own, torch.distributions.Categorical)
    legal = own.probs.numpy() * observed["action_mask"].numpy()
    assert (legal.sum(1) < 1).all()
    expected = legal / legal.sum(1, keepdims=True)
    np.testing.assert_allclose(one.agent.token_probabilities(observations), expected, atol=1e-6)


def test_agent_speaks_what_its_probabilities_say() -> None:
    """Logprobs of whole turns are sums over the tree's token probabilities; a batch of one draws from the same."""
    agent, game = learner(game=make_game("statements-v0")).agent, make_game("statements-v0")
    played = rollout(game, (agent, agent), 16, np.random.default_rng(0))
    assert {len(turn.utterance.tokens) for one in played for turn in one.turns} != {1}
    for turn in (turn for one in played for turn in one.turns):
        said = turn.utterance.tokens
        for k, (token, logprob) in enumerate(zip(said, turn.utterance.logprobs or (), strict=True)):
            told = np.concatenate([turn.view.tokens, np.array(said[:k], dtype=np.int64)])
            observation: Observation = {"observation": told, "action_mask": turn.view.legal_mask(said[:k])}
            assert agent.token_probabilities([observation])[0, token] == pytest.approx(np.exp(logprob), rel=1e-5)


def test_speaking_draws_from_the_given_generator_only() -> None:
    """The same rng, the same words, whatever the global generators do; they are left alone."""
    agent, outside = trained("maskable_ppo").agent, torch.get_rng_state()
    said = []
    for _ in range(2):
        said.append([one.dialogue for one in rollout(KUHN, (agent, agent), 20, np.random.default_rng(3))])
        assert torch.equal(torch.get_rng_state(), outside)
        np.random.random()  # noqa: NPY002
    assert said[0] == said[1]
    env = SinglePlayerEnv(KUHN)
    observation, _ = env.reset(seed=0)
    assert observation["action_mask"][agent.act(observation, np.random.default_rng(0))]


def test_an_sb3_policy_sits_in_the_seat_of_any_learner() -> None:
    """Its part of a batch is trajectories like any other's, forfeits nothing, and its profile is a profile."""
    agent = trained("a2c").agent
    played = rollout(KUHN, (agent, RandomAgent()), 32, np.random.default_rng(0))
    assert not any(one.forfeited_by(0) for one in played)
    batch = trajectories(played, 0)
    assert (batch.logprobs[batch.policy_token_mask] < 0).all()
    tree = kuhn_tree()
    assert np.isfinite(expected_returns(tree, profile_of(tree, (agent, RandomAgent())))).all()


@pytest.mark.parametrize("algorithm", ["maskable_ppo", "a2c"])
def test_snapshot_stays_while_the_policy_learns_on(algorithm: str) -> None:
    """A pool must not move."""
    one, observations = learner(algorithm), kuhn_tree().observations(0)
    one.update()
    snapshot, before = one.agent.snapshot(), one.agent.token_probabilities(observations)
    one.update()
    assert np.array_equal(snapshot.token_probabilities(observations), before)
    assert not np.array_equal(one.agent.token_probabilities(observations), before)


@pytest.mark.parametrize("player", [0, 1])
def test_batched_rows_play_as_the_single_player_environment_does(player: int) -> None:
    """The same deal and tokens against an opponent that never draws give the same views, masks and rewards."""
    opponent = ScriptedAgent(["bet" if player else "call"])
    env, single = DialogueVecEnv(Bluff(), [player] * 4, (opponent, opponent), np.random.default_rng(1)), None
    rng, observed = np.random.default_rng(2), env.reset()
    single = SinglePlayerEnv(Bluff(), player=player, opponent=opponent)  # type: ignore[arg-type]
    for _ in range(8):
        deals = [env._episodes[row].dialogue.deal for row in range(4)]
        tokens = np.array([rng.choice(np.flatnonzero(mask)) for mask in env.action_masks()])
        before, (observed, rewards, dones, infos) = observed, env.step(tokens)  # type: ignore[assignment]
        for row, deal in enumerate(deals):
            first, _ = single.reset(options={"deal": deal})
            assert all(np.array_equal(first[key], before[key][row]) for key in first)  # type: ignore[literal-required]
            last, reward, over, _, _ = single.step(int(tokens[row]))
            assert (reward, over) == (rewards[row], dones[row])
            assert np.array_equal(last["observation"], infos[row]["terminal_observation"]["observation"])


def test_opponents_never_speak_for_the_learner() -> None:
    """Rows of both seats, some of whose turns follow each other."""
    env = DialogueVecEnv(KUHN, [0, 1] * 8, (RandomAgent(), RandomAgent()), np.random.default_rng(0))
    env.reset()
    for _ in range(20):
        for row, player in enumerate([0, 1] * 8):
            episode = env._episodes[row]
            assert episode.player == player
            own = [k for k, turn in enumerate(episode.dialogue.turns) if turn.player == player]
            assert len(own) == (0 if len(episode.dialogue.turns) < 2 else 1)
        env.step(np.array([np.flatnonzero(mask)[0] for mask in env.action_masks()]))


def test_a_population_member_is_drawn_for_each_episode() -> None:
    """Against callers and folders alike, a bet on an ace earns 2 or 1, half of the time each."""
    callers = Population.even([ScriptedAgent(["call"]), ScriptedAgent(["fold"])])
    env = DialogueVecEnv(Bluff(), [0] * 50, (callers, callers), np.random.default_rng(0))
    env.reset()
    env.step(np.full(50, BET[0]))
    earned = [one.earned for one in env.take_ended()]
    assert sorted(set(earned)) == [-2.0, 1.0, 2.0]
    assert 15 <= earned.count(1.0) <= 35
    assert env.take_ended() == []


def test_rows_without_a_decision_are_refused() -> None:
    """The second player of a bettor who always folds is never to speak."""
    folder = ScriptedAgent(["fold"])
    env = DialogueVecEnv(Bluff(), [1], (folder, folder), np.random.default_rng(0))
    with pytest.raises(RuntimeError, match="player 1 was never to speak in 1000 deals"):
        env.reset()
    with pytest.raises(ValueError, match="players: expected 0 or 1 for each row, got \\[2\\]"):
        DialogueVecEnv(Bluff(), [2], (folder, folder), np.random.default_rng(0))


def test_maskable_ppo_finds_the_best_response_to_a_caller() -> None:
    """Against a player who always calls: bet aces, fold deuces, worth (2 - 1) / 2 = 1/2; uniform play earns -1/2."""
    config = SB3Config(num_envs=16, tokens_per_env=16, minibatch_size=128, embedding_size=8, learning_rate=5e-3)
    caller, tree = ScriptedAgent(["call"]), GameTree(Bluff())
    one = SB3Learner(Bluff(), config, players=[0], seats=[caller, caller], seed=0)
    for _ in range(15):
        update = one.update()
    profile = list(uniform_profile(tree))
    profile[1] = np.array([float(token == CALL[0]) for token in tree.tables[1].tokens])
    assert expected_returns(tree, profile)[0] == pytest.approx(-0.5)
    best = best_response(tree, 0, profile[1]).value
    assert best == pytest.approx(0.5)
    profile[0] = policy_of(tree, 0, one.agent)
    assert expected_returns(tree, profile)[0] >= -0.5 + 0.95 * 1.0
    assert update.num_episodes == update.num_tokens == 256
    assert update.forfeit_rate == 0


@pytest.mark.parametrize("algorithm", ["ppo", "a2c"])
def test_models_without_masks_learn_to_say_legal_tokens(algorithm: str) -> None:
    """11 of 13 tokens forfeit Bluff at first."""
    config = SB3Config(algorithm=algorithm, num_envs=32, tokens_per_env=4, minibatch_size=64, learning_rate=1e-2)  # type: ignore[arg-type]
    one = SB3Learner(Bluff(), config, players=[0], seats=[RandomAgent(), RandomAgent()], seed=0)
    rates = [one.update().forfeit_rate or 0.0 for _ in range(20)]
    assert rates[0] > 0.5
    assert rates[-1] < 0.2


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Also through files, and whatever was drawn from the global generators in between."""
    straight, stopped = learner(seed=4), SB3Training(learner(seed=4), 4)
    reports = [straight.update() for _ in range(4)]
    assert [step.update for step in islice(stopped, 2)] == reports[:2]
    write_state(tmp_path, stopped.state_dict())
    torch.rand(3), random.random()
    resumed = SB3Training(learner(seed=5), 4)
    resumed.load_state_dict(read_state(tmp_path) or {})
    assert [(step.iteration, step.update) for step in resumed] == [(3, reports[2]), (4, reports[3])]


def test_training_leaves_the_global_generators_alone() -> None:
    """The library seeds and draws from them; a learner gives them back."""
    outside = torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002
    learner().update()
    assert torch.equal(torch.get_rng_state(), outside[0])
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], outside[1]["state"]["key"])  # noqa: NPY002
    assert random.getstate() == outside[2]


def test_a_run_leaves_a_policy_that_is_an_agent_by_its_folder(tmp_path: Path) -> None:
    """The next command can take it as an opponent; a finished run is not run again."""
    small = ["--num-envs", "4", "--tokens-per-env", "4", "--minibatch-size", "8", "--num-updates", "2", "--seed", "3"]
    TRAINERS["sb3"].run(["--game", "bluff-v0", "--out", str(tmp_path / "a"), *small])
    agent = load_agent(str(tmp_path / "a" / "model"), Bluff().vocabulary)
    assert isinstance(agent, SB3Agent)
    assert [record["iteration"] for record in read_metrics(tmp_path / "a")] == [1, 2]
    TRAINERS["sb3"].run(["--game", "bluff-v0", "--out", str(tmp_path / "a"), *small])
    assert len(read_metrics(tmp_path / "a")) == 2
    config = TrainSB3Config(
        options=GameOptions(game="bluff-v0"),
        learning=SB3Config(algorithm="a2c", **SMALL),
        opponent=str(tmp_path / "a" / "model"),
        player=1,
        out=tmp_path / "b",
        num_updates=1,
    )
    assert isinstance(load_agent(str(train_sb3(config) / "model"), Bluff().vocabulary), SB3Agent)


def test_a_saved_policy_comes_back_as_it_was(tmp_path: Path) -> None:
    """Weights as safetensors; a vocabulary of another size is refused, and so is a zip, which is a pickle."""
    one, observations = trained("maskable_ppo"), kuhn_tree().observations(0)
    one.agent.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy.safetensors", "sb3_policy.json"]
    back = SB3Agent.from_pretrained(tmp_path, KUHN.vocabulary)
    assert np.array_equal(back.token_probabilities(observations), one.agent.token_probabilities(observations))
    with pytest.raises(ValueError, match="policy: expected one for a vocabulary of 13 tokens, got one for 15"):
        SB3Agent(back.policy, Bluff().vocabulary)
    with pytest.raises(ValueError, match=r"a zip of Stable-Baselines3 is a pickle"):
        SB3Agent.from_pretrained(tmp_path / "model.zip", KUHN.vocabulary)


def test_a_saved_policy_is_refused_by_a_game_with_other_words(tmp_path: Path) -> None:
    """Rock-paper-scissors in other words has as many tokens, and other meanings; the message says where it is from."""
    game, words = make_game("rock_paper_scissors-v0"), WordVocabulary("rock paper lizard")
    config = SB3Config(algorithm=_MASKED, **SMALL)
    policy = SB3Learner(game, config, players=[1], seats=[RandomAgent()] * 2, seed=0, name="rps").agent
    policy.save_pretrained(tmp_path)
    back = load_agent(str(tmp_path), game.vocabulary)
    assert repr(back) == repr(policy.snapshot()) == "SB3Agent(player 1 of rps)"
    message = r"player 1 of rps\): expected a game with its words, got .* word 2 is 'scissors' there, 'lizard' in this"
    with pytest.raises(ValueError, match=message):
        load_agent(str(tmp_path), words)


def test_a_policy_of_another_game_with_the_same_words_is_refused(tmp_path: Path) -> None:
    """`tiny_referential-v0` and `secret_code-v0` share theirs, so that only the saved name tells them apart."""
    code, referential = make_game("secret_code-v0"), make_game("tiny_referential-v0")
    assert code.vocabulary.decode(range(14)) == referential.vocabulary.decode(range(14))
    options = GameOptions(game="secret_code-v0")
    small = SB3Config(algorithm=_MASKED, **SMALL)
    config = TrainSB3Config(options=options, learning=small, player=1, out=tmp_path / "a", num_updates=1)
    folder = train_sb3(config) / "model"
    assert isinstance(load_agent(str(folder), code.vocabulary, game="secret_code-v0"), SB3Agent)
    other = TrainSB3Config(
        options=GameOptions(game="tiny_referential-v0"), opponent=str(folder), out=tmp_path / "b", num_updates=1
    )
    with pytest.raises(ValueError, match=r"expected one of tiny_ref.*, got SB3Agent\(player 1 of secret_code-v0\)"):
        train_sb3(other)


def test_a_policy_saved_before_words_were_kept_is_still_loaded(tmp_path: Path) -> None:
    """Such a folder holds sizes alone."""
    trained("maskable_ppo").agent.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "sb3_policy.json").read_text())
    for name in ("words", "game", "players"):
        del config[name]
    (tmp_path / "sb3_policy.json").write_text(json.dumps(config))
    assert repr(SB3Agent.from_pretrained(tmp_path, KUHN.vocabulary)) == "SB3Agent(MaskableMultiInputActorCriticPolicy)"


def test_a_damaged_policy_is_named(tmp_path: Path) -> None:
    """Weights that were cut off, then a configuration that was."""
    trained("maskable_ppo").agent.save_pretrained(tmp_path)
    for name, message in (
        ("policy.safetensors", r"policy\.safetensors: expected a safetensors file, got one that is damaged"),
        ("sb3_policy.json", r"sb3_policy\.json, line 1: expected JSON"),
    ):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-9])
        with pytest.raises(ValueError, match=message):
            SB3Agent.from_pretrained(tmp_path, KUHN.vocabulary)


def test_the_library_alone_trains_in_the_single_player_environment() -> None:
    """As the documentation of Stable-Baselines3 has it; its model is an agent, but not one that we can save."""
    env = gymnasium.make("duologue/bluff-v0", player=1, opponent=ScriptedAgent(["bet"]))
    extractor = {"features_extractor_class": TokenFeatures, "activation_fn": torch.nn.ReLU}
    model = MaskablePPO("MultiInputPolicy", env, n_steps=16, batch_size=16, policy_kwargs=extractor, device="cpu")
    model.set_logger(Logger(folder=None, output_formats=[]))
    model.learn(16)
    agent = SB3Agent(model.policy, Bluff().vocabulary)
    said = rollout(Bluff(), (ScriptedAgent(["bet"]), agent), 4, np.random.default_rng(0))
    assert {one.dialogue.turns[1].tokens for one in said} <= {FOLD, CALL}
    with pytest.raises(ValueError, match="save_pretrained: expected a MultiInputPolicy with one TokenFeatures, tanh"):
        agent.save_pretrained("nowhere")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "dqn"}, "algorithm: expected 'ppo', 'a2c' or 'maskable_ppo', got 'dqn'"),
        ({"num_envs": 0}, "num_envs: expected an integer of at least 1, got 0"),
        ({"minibatch_size": 100}, "minibatch_size: expected a divisor >= 2 of num_envs \\* tokens_per_env = 1024"),
        ({"learning_rate": 0.0}, "learning_rate: expected a finite number above 0, got 0.0"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    """Expected and actual in every message."""
    with pytest.raises(ValueError, match=message):
        SB3Config(**options)


@pytest.mark.parametrize("kind", ["dqn", "qrdqn", "recurrent_ppo"])
def test_a_policy_without_a_distribution_of_its_own_view_is_refused(kind: str) -> None:
    """Values of actions are no probabilities, and an agent keeps no memory: said when it is made, not in play."""
    env = SinglePlayerEnv(KUHN)
    made: dict[str, tuple[Any, str]] = {
        "dqn": (DQN, "MultiInputPolicy"),
        "qrdqn": (QRDQN, "MultiInputPolicy"),
        "recurrent_ppo": (RecurrentPPO, "MultiInputLstmPolicy"),
    }
    make, name = made[kind]
    sizes: dict[str, Any] = {"n_steps": 4, "batch_size": 4} if kind == "recurrent_ppo" else {"buffer_size": 10}
    with torch.random.fork_rng():
        policy = make(name, env, seed=0, device="cpu", **sizes).policy
    with pytest.raises(ValueError, match="policy: expected that of PPO, A2C or MaskablePPO"):
        SB3Agent(policy, KUHN.vocabulary)


def test_a_policy_of_other_actions_is_refused() -> None:
    """One that chooses among fewer tokens than the game has would never say the last ones."""
    policy = trained("maskable_ppo").agent.snapshot().policy
    policy.action_space = gymnasium.spaces.Discrete(7)
    with pytest.raises(ValueError, match=r"one that chooses among 15 tokens, got one with actions Discrete\(7\)"):
        SB3Agent(policy, KUHN.vocabulary)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabulary_size": "15"}, "whole numbers > 0"),
        ({"embedding_size": -1}, "whole numbers > 0"),
        ({"embedding_size": True}, "whole numbers > 0"),
        ({"net_arch": {"pi": [8]}}, "net_arch, a list"),
        ({"net_arch": [0]}, "net_arch, a list"),
        ({"maskable": 1}, "maskable, true or false"),
        ({"policy_class": "os.system"}, "whole numbers > 0"),
        ({"players": 3}, "a game's name and a list of players"),
        ({"game": ["kuhn"]}, "a game's name and a list of players"),
        ({"words": "ace"}, "expected a list of words"),
        ({"max_view_tokens": 10**12}, r"weights of the sizes that sb3_policy\.json gives"),
        ({"net_arch": [10**12]}, r"weights of the sizes that sb3_policy\.json gives"),
        ({"net_arch": [16, 16, 16]}, "expected the weights of the policy"),
        ({"maskable": False, "net_arch": [16] * 10**4}, r"weights of the sizes that sb3_policy\.json gives"),
    ],
)
def test_a_policys_folder_that_is_not_what_it_says_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Types and sizes, before a network is built: they might ask for terabytes."""
    trained("maskable_ppo").agent.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "sb3_policy.json").read_text())
    (tmp_path / "sb3_policy.json").write_text(json.dumps(config | changes))
    with pytest.raises(ValueError, match=message):
        load_agent(str(tmp_path), KUHN.vocabulary)


def test_a_policys_weights_that_are_no_numbers_missing_or_too_short_are_refused(tmp_path: Path) -> None:
    """NaN where it is loaded, a view that it has no place for, no weights at all."""
    trained("maskable_ppo").agent.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"expected one for views of 99 tokens, the game's longest, got one for \d+"):
        load_agent(str(tmp_path), KUHN.vocabulary, max_view_tokens=99)
    weights = load_file(tmp_path / "policy.safetensors")
    save_file(weights | {"action_net.bias": weights["action_net.bias"] * torch.nan}, tmp_path / "policy.safetensors")
    with pytest.raises(ValueError, match=r"expected finite weights, got NaN or infinity in action_net\.bias"):
        load_agent(str(tmp_path), KUHN.vocabulary)
    (tmp_path / "policy.safetensors").unlink()
    with pytest.raises(ValueError, match=r"expected a folder with policy\.safetensors, got one without"):
        load_agent(str(tmp_path), KUHN.vocabulary)


@pytest.mark.parametrize("torch_checks", [True, False])
def test_a_policy_whose_weights_break_says_nothing(torch_checks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a model of language does not, whether torch looks at the parameters of distributions or not."""
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", torch_checks)
    agent = trained("maskable_ppo").agent.snapshot()
    with torch.no_grad():
        for parameter in agent.policy.parameters():
            parameter.fill_(torch.nan)
    observation = kuhn_tree().observations(0)[0]
    with pytest.raises(ValueError, match="policy: expected finite logits, got NaN"):
        agent.act(observation, np.random.default_rng(0))
    with pytest.raises(ValueError, match="policy: expected finite logits, got NaN"):
        agent.token_probabilities([observation])


@pytest.mark.parametrize("algorithm", ["a2c", "maskable_ppo"])
def test_an_update_that_breaks_the_weights_is_refused(algorithm: str) -> None:
    """The library looks at no weight; after the last update nothing else would."""
    one = learner(algorithm)
    one.model.learning_rate = 1e30
    one.model._setup_lr_schedule()
    with pytest.raises(FloatingPointError, match=r"update 1: weights after the step: expected"):
        one.update()


def test_a_reward_that_is_no_number_is_refused_by_name() -> None:
    """Before the library learns from it."""

    class Unpaid(Bluff):
        def rewards(self, dialogue: Any) -> tuple[float, float]:
            return float("nan"), float("nan")

    with pytest.raises((FloatingPointError, ValueError), match="rewards"):
        learner(game=Unpaid()).update()
