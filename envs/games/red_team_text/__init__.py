"""The red-team game on real text: requests from a file, any tokenizer, a learned judge."""

from .game import RedTeamText
from .requests import Request, read_requests, split_requests
from .roles import Role

__all__ = [
    "RedTeamText",
    "Request",
    "Role",
    "read_requests",
    "split_requests",
]
