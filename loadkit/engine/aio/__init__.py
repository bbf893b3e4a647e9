"""The asyncio engines: the same Protocol code over two loop factories, uvloop's and the standard library's.

It is what a normal asyncio program gets: transports, callbacks, one loop a process.
"""
