"""What a request asks for, in the caller's units, before any picture is known."""
