"""The compiled engine: a core in C around its own epoll fd, inside an asyncio loop.

blast.h and serve.h explain the state machines and who owns which memory; engine.py is the Python side.
"""
