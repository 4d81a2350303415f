"""What `make bench` measures beside other code; not part of the wheel.

Imports what it measures; nothing imports it.
"""
