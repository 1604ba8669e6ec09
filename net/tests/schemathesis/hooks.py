"""Teaches Schemathesis CBOR: what it makes up is sent, and what is answered is
judged, in the form that the server speaks by itself."""

import os
import uuid

import cbor2
import schemathesis


@schemathesis.serializer("application/cbor")
def write_cbor(ctx, value):
    if isinstance(value, bytes):
        return value
    return cbor2.dumps(value)


@schemathesis.deserializer("application/cbor")
def read_cbor(ctx, response):
    return cbor2.loads(response.content)


@schemathesis.hook
def map_path_parameters(ctx, path_parameters):
    """What is asked of a brane is asked of one that is there."""
    if path_parameters and ctx.operation.path.startswith("/api/v1/brane/{id}"):
        return {**path_parameters, "id": os.environ["AVVYLAND_BRANE"]}
    return path_parameters


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """Each request is its own: under one key all but the first would be refused
    before anybody looks at them."""
    for name, value in (case.headers or {}).items():
        if name.lower() == "idempotency-key" and is_key(value):
            case.headers[name] = str(uuid.uuid4())


def is_key(value):
    try:
        return uuid.UUID(value).version == 4
    except (ValueError, AttributeError, TypeError):
        return False
