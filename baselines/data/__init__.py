"""Dialogues and preference pairs in the formats that people have: readers, writers, token masks.

Imports `agents`, `envs`, `rollouts` and `training`.
"""

from .dialogues import ASSISTANT, USER, PreferencePair, TextDialogue, TextTurn, check_alternation, merge_turns, tidy
from .documents import HH, QA, QCA, Markers, parse_hh, parse_text, to_document, to_hh, to_text
from .encoding import EncodedDialogue, TextDemonstrations, encode_text_dialogue, encode_text_dialogues
from .export import episode_dialogue, export_episodes, write_records
from .messages import parse_alpaca, parse_hh_pair, parse_messages, parse_pair, to_hh_pair, to_messages, to_pair
from .readers import DOCUMENT_END, Reader, read_dialogues, read_pairs

__all__ = [
    "ASSISTANT",
    "DOCUMENT_END",
    "HH",
    "QA",
    "QCA",
    "USER",
    "EncodedDialogue",
    "Markers",
    "PreferencePair",
    "Reader",
    "TextDemonstrations",
    "TextDialogue",
    "TextTurn",
    "check_alternation",
    "encode_text_dialogue",
    "encode_text_dialogues",
    "episode_dialogue",
    "export_episodes",
    "merge_turns",
    "parse_alpaca",
    "parse_hh",
    "parse_hh_pair",
    "parse_messages",
    "parse_pair",
    "parse_text",
    "read_dialogues",
    "read_pairs",
    "tidy",
    "to_document",
    "to_hh",
    "to_hh_pair",
    "to_messages",
    "to_pair",
    "to_text",
    "write_records",
]
