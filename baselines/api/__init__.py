"""The public face: every command by name, and a finished run as an object.

Imports anything of `baselines`, each when it is first asked for; nothing imports this.
"""
