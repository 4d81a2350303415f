"""The red-team game: one player writes requests, the other answers or refuses."""
