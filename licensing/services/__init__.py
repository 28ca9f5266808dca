"""Decisions and writes of `licensing`: one verb a function. HTTP code calls one of these and decides nothing itself."""
