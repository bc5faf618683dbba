"""What the fuzzer cannot know by itself: a key of a request is new for every wish."""

import uuid

import schemathesis

HEADER = "Idempotency-Key"


@schemathesis.hook
def before_call(context, case, kwargs):
    key = (case.headers or {}).get(HEADER)
    # One that breaks the rules goes on breaking them.
    if isinstance(key, str) and 0 < len(key) < 200 and key.isascii() and key.isprintable():
        case.headers[HEADER] = f"{key}-{uuid.uuid4()}"
