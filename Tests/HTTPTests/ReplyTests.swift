import HTTP
import Synchronization
import Testing

/// Keeps what it is given; refuses once it has more than `bytesMax`.
final class RecordingSink: BodySink {
    private let state = Mutex<(heads: [HTTPResponseHead], bytes: [UInt8])>(([], []))
    private let bytesMax: Int

    init(bytesMax: Int = .max) { self.bytesMax = bytesMax }

    var heads: [HTTPResponseHead] { state.withLock { $0.heads } }
    var bytes: [UInt8] { state.withLock { $0.bytes } }

    func accept(_ head: HTTPResponseHead) -> Bool {
        state.withLock { $0.heads.append(head) }
        return head.status < 300
    }

    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let part = [UInt8](bytes)
        return state.withLock { state in
            state.bytes += part
            return state.bytes.count <= bytesMax
        }
    }
}

/// The failure of a GET whose reply is `action`.
func failure(
    of action: Server.Action,
    timeout: Duration? = .seconds(60),
    sink: (any BodySink)? = nil,
    configuration: HTTPClient.Configuration = .init()
) async throws -> HTTPError? {
    try await withServer(configuration: configuration) { _ in
        action
    } _: { server, client in
        let request = HTTPRequest(method: .get, url: server.url + "/", timeout: timeout)
        return await #expect(throws: HTTPError.self) { _ = try await client.perform(request, into: sink) }
    }
}

/// What comes back.
@Suite struct ReplyTests {
    @Test("a sink receives exactly the body, and the reply holds none")
    func sink() async throws {
        try await withServer { _ in
            .body(count: 3_000_001)
        } _: { server, client in
            let sink = RecordingSink()
            let reply = try await client.perform(HTTPRequest(method: .get, url: server.url + "/"), into: sink)
            #expect(reply.body.isEmpty)
            #expect(sink.bytes == (0..<3_000_001).map { Server.bodyByte($0) })
            #expect(sink.heads.map(\.status) == [200])
            #expect(sink.heads.first?["content-length"] == "3000001")
        }
    }

    @Test("an error document that the sink declines is collected")
    func declined() async throws {
        let text = "HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\nx-oss-request-id: 65A\r\n\r\n<Error/>"
        try await withServer { _ in
            .reply(text)
        } _: { server, client in
            let sink = RecordingSink()
            let reply = try await client.perform(HTTPRequest(method: .get, url: server.url + "/"), into: sink)
            #expect(reply.status == 404)
            #expect(reply.head["x-oss-request-id"] == "65A")
            #expect(String(decoding: reply.body, as: UTF8.self) == "<Error/>")
            #expect(sink.bytes.isEmpty)
        }
    }

    @Test("a sink that refuses ends the transfer")
    func sinkRefuses() async throws {
        let sink = RecordingSink(bytesMax: 1000)
        #expect(try await failure(of: .body(count: 10_000_000), sink: sink) == .rejected)
        #expect(sink.bytes.count < 10_000_000)
    }

    @Test("a collected body may not pass its limit")
    func collectedLimit() async throws {
        var configuration = HTTPClient.Configuration()
        configuration.collectedBytesMax = 1000
        #expect(try await failure(of: .body(count: 1001), configuration: configuration) == .rejected)
        try await withServer(configuration: configuration) { _ in
            .body(count: 1000)
        } _: { server, client in
            let reply = try await client.perform(HTTPRequest(method: .get, url: server.url + "/"))
            #expect(reply.body.count == 1000)
        }
    }

    @Test("a chunked body is put together, a compressed one is left alone, and a trailer is no header")
    func chunkedWithTrailer() async throws {
        let text =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\nTrailer: x-late\r\n\r\n"
            + "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nx-late: 1\r\n\r\n"
        try await withServer { _ in
            .reply(text)
        } _: { server, client in
            for _ in 0..<2 {
                let reply = try await client.perform(HTTPRequest(method: .get, url: server.url + "/"))
                #expect(String(decoding: reply.body, as: UTF8.self) == "hello world")
                #expect(reply.head["content-encoding"] == "gzip")
                #expect(reply.head["x-late"] == nil)
            }
            #expect(server.acceptedCount == 1)
        }
    }

    @Test("interim replies leave no trace; names are lowercase, values trimmed, order and repeats kept")
    func headers() async throws {
        let text =
            "HTTP/1.1 100 Continue\r\nx-interim: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
            + "HTTP/1.1 206 Partial Content\r\nETag:   \"abc\"  \r\nX-Meta: one\r\nx-meta: two\r\nX-Empty:\r\n"
            + "Content-Length: 2\r\n\r\nok"
        try await withServer { _ in
            .reply(text)
        } _: { server, client in
            let sink = RecordingSink()
            let reply = try await client.perform(HTTPRequest(method: .get, url: server.url + "/"), into: sink)
            #expect(sink.heads.map(\.status) == [206])
            #expect(reply.status == 206)
            let headers = reply.head.headers.map { "\($0.name)=\($0.value)" }
            #expect(headers == ["etag=\"abc\"", "x-meta=one", "x-meta=two", "x-empty=", "content-length=2"])
        }
    }

    @Test("a redirect is a reply like any other")
    func redirect() async throws {
        let text = "HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
        try await withServer { _ in
            .reply(text)
        } _: { server, client in
            let reply = try await client.perform(HTTPRequest(method: .get, url: server.url + "/"))
            #expect(reply.status == 307)
            #expect(server.requests.count == 1)
        }
    }

    @Test(
        "a reply that is cut short, or is no HTTP, is broken",
        arguments: [
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
            "\0\u{1}\u{2}\r\n\r\n",
            "",
        ]
    )
    func broken(reply: String) async throws {
        let error = try await failure(of: .replyThenClose(reply))
        guard case .broken(let words) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(!words.isEmpty)
    }

    @Test("headers without end are broken, not memory")
    func endlessHeaders() async throws {
        let line = "x-filler: " + String(repeating: "f", count: 1000) + "\r\n"
        let text = "HTTP/1.1 200 OK\r\n" + String(repeating: line, count: 1000)
        #expect(try await failure(of: .hold(text)) == .broken("over 262144 bytes of headers"))
    }
}
