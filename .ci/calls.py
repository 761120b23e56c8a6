"""gRPC's own stack on both sides of countersign.

usage: python3 .ci/calls.py serve            prints its port, and serves until it is killed
       python3 .ci/calls.py call PORT        makes calls with the certificates in pki/

Without protobuf: messages are bytes.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc


def unary(request, context):
    context.set_trailing_metadata((("x-trailing", "yes"),))
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked: 100 %")
    if request == b"who":
        fields = dict(context.invocation_metadata())
        return fields.get("x-forwarded-client-cert", "nobody").encode()
    if request == b"wait":
        while context.is_active():
            pass
    return b"<" + request + b">"


def server_stream(request, _context):
    for number in range(int(request)):
        yield str(number).encode() * 1000


def client_stream(requests, _context):
    return str(sum(len(request) for request in requests)).encode()


def both_stream(requests, _context):
    for request in requests:
        yield b"<" + request + b">"


def serve():
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
        "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
        "BothStream": grpc.stream_stream_rpc_method_handler(both_stream),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("ci.Calls", handlers),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


def read(name):
    with open("pki/" + name, "rb") as file:
        return file.read()


def failure(call):
    """The status and the words of a call that must fail."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError("it did not fail")


def call(port):
    credentials = grpc.ssl_channel_credentials(read("ca.pem"), read("web.key"), read("web.pem"))
    with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
        one = channel.unary_unary("/ci.Calls/Unary")
        answer, state = one.with_call(b"hello", timeout=10)
        assert answer == b"<hello>", answer
        assert ("x-trailing", "yes") in [tuple(field) for field in state.trailing_metadata()]
        print("unary, with trailers")

        whom = one(b"who", timeout=10).decode()
        assert "spiffe://example.org/web" in whom, whom
        print("the service is told who calls")

        code, words = failure(lambda: one(b"fail", timeout=10))
        assert code == grpc.StatusCode.FAILED_PRECONDITION and words == "as asked: 100 %", words
        print("the service's own failure")

        pieces = list(channel.unary_stream("/ci.Calls/ServerStream")(b"200", timeout=20))
        assert len(pieces) == 200 and pieces[7] == b"7" * 1000
        print("server stream")

        sent = (b"x" * 1000 for _ in range(200))
        assert channel.stream_unary("/ci.Calls/ClientStream")(sent, timeout=20) == b"200000"
        print("client stream")

        said = [str(number).encode() for number in range(100)]
        heard = channel.stream_stream("/ci.Calls/BothStream")(iter(said), timeout=20)
        assert list(heard) == [b"<" + piece + b">" for piece in said]
        print("both streams")

        code, _ = failure(lambda: one(b"wait", timeout=1))
        assert code == grpc.StatusCode.DEADLINE_EXCEEDED, code
        print("deadline")

        for method, expected in [
            ("/denied/Call", grpc.StatusCode.PERMISSION_DENIED),
            ("/gone/Call", grpc.StatusCode.UNAVAILABLE),
            ("/nowhere/Call", grpc.StatusCode.UNIMPLEMENTED),
        ]:
            code, words = failure(lambda: channel.unary_unary(method)(b"", timeout=10))
            assert code == expected and "reference: " in words, (method, code, words)
        print("refusals of countersign's own")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        call(sys.argv[2])
