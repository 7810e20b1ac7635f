"""For several servers, or several fronts of one: sends each purge to all, and lets one of them render each image.

link.py    the connection to Redis; the servers continue to work without Redis
outbox.py  messages that wait in a folder until they are sent
locks.py   one server renders an image; the other servers wait for the result in the shared cache
cdn.py     purges of a CDN in front of the servers
bus.py     sends purges over a stream, which each server reads from its last position

siblings.py     messages between the fronts of a host
host_locks.py   one front renders an image; the others wait for the result on the disk
"""
