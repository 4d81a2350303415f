"""Legal masks spelled out over the whole vocabulary, to hold the lists against."""

import torch
from torch import Tensor

from duologue.agents.language_model.legal_mask import LegalMask
from duologue.envs import Vocabulary


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
