"""Two-player language games, the agents that play them, and the algorithms that train those agents."""

__version__ = "0.1.0"
