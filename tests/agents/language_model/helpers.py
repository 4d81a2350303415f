"""Legal masks spelled out over the whole vocabulary, to hold the lists against; what models of any kind must keep."""

import numpy as np
import pytest
import torch
from torch import Tensor

from duologue.agents import CausalLMAgent, View
from duologue.agents.language_model.legal_mask import LegalMask
from duologue.envs import Vocabulary, WordVocabulary

WORDS = WordVocabulary("a b c d e f g h i j k l m n o p")


def view_of(length: int) -> View:
    """Return a view of words that is to be answered by up to eight tokens, none of them narrowed."""
    tokens = np.random.default_rng(length).integers(8, WORDS.size, length)
    mask = WORDS.sayable_mask
    return View(0, tokens, (), WORDS, 8, lambda prefix: mask, lambda prefix: None, unrestricted=True)


def require_evaluated_as_sampled(agent: CausalLMAgent, *, tolerance: float) -> None:
    """Check that tokens are evaluated as they were sampled, in nats: rows of one length, and of several."""
    for lengths in ((5, 5), (3, 9, 1)):
        views = [view_of(length) for length in lengths]
        said = agent.speak(views, np.random.default_rng(0))
        rows = [torch.tensor([*view.tokens.tolist(), *one.tokens]) for view, one in zip(views, said, strict=True)]
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        column = torch.arange(tokens.shape[1])
        attention = column < torch.tensor([len(row) for row in rows])[:, None]
        own = attention & (column >= torch.tensor(lengths)[:, None])
        with torch.no_grad():
            evaluated = agent.evaluate(tokens, attention, own).logprobs[own]
        sampled = [logprob for one in said for logprob in one.logprobs or ()]
        assert evaluated.tolist() == pytest.approx(sampled, abs=tolerance)


def unsayable(vocabulary: Vocabulary) -> Tensor:
    """Return the ids that are neither sayable nor `<eos>`."""
    usual = torch.from_numpy(vocabulary.sayable_mask.astype(bool))
    usual[vocabulary.eos_id] = True
    return (~usual).nonzero().squeeze(-1)


def dense(mask: LegalMask, vocabulary: Vocabulary) -> Tensor:
    """Return where tokens are legal, (P, V), for the positions (P,) of a mask."""
    logits = torch.zeros(len(mask.sets), vocabulary.size)
    mask.remove_illegal_(logits, unsayable(vocabulary))
    return logits == 0
