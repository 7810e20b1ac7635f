"""The conformance runner: reads cases, makes their sources, sends requests and checks the responses."""
