"""Coordinates several servers, or the fronts of one host: sends purges to all, and prevents duplicate renders.

Between servers:
link.py    the connection to Redis; servers continue to work without Redis
outbox.py  stores messages in a folder until they are sent
locks.py   one server renders an image; the other servers wait for the result in the shared cache
cdn.py     purges a CDN in front of the servers
bus.py     sends purges over a stream in Redis, which each server reads from its last position

Between the fronts of a host:
siblings.py     sends messages
host_locks.py   one front renders an image; the other fronts wait for the result on the disk
"""
