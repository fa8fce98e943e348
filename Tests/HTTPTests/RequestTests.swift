import HTTP
import Testing
import ThawCore

private let empty = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

/// What goes on the wire.
@Suite struct RequestTests {
    @Test("requests one after another share one connection")
    func keepAlive() async throws {
        try await withServer { _ in
            .reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        } _: { server, client in
            for method in [HTTPRequest.Method.get, .get, .put, .post, .delete, .get] {
                let reply = try await client.perform(HTTPRequest(method: method, url: server.url + "/"))
                #expect(reply.status == 200)
                #expect(reply.body == Array("ok".utf8))
            }
            #expect(server.acceptedCount == 1)
        }
    }

    @Test("nothing is added to a request but Host, User-Agent, Accept and the length of the body")
    func headersAreExact() async throws {
        try await withServer { _ in
            .reply(empty)
        } _: { server, client in
            for method in [HTTPRequest.Method.get, .put, .post, .delete] {
                let hasBody = method == .put || method == .post
                let request = HTTPRequest(
                    method: method,
                    url: server.url + "/a",
                    headers: [("x-first", "1"), ("x-empty", ""), ("Authorization", "OSS4 a=b,c=d")],
                    body: .bytes(hasBody ? Array("body".utf8) : [])
                )
                _ = try await client.perform(request)
                let lines = [
                    "\(method.rawValue) /a HTTP/1.1", "Host: 127.0.0.1:\(server.port)",
                    "User-Agent: thawfs/0.1",
                    "Accept: */*", "x-first: 1", "x-empty:", "Authorization: OSS4 a=b,c=d",
                ]
                #expect(
                    server.requests.last?.lines.sorted()
                        == (lines + (hasBody ? ["Content-Length: 4"] : [])).sorted()
                )
            }
        }
    }

    @Test("a Content-Type of the caller's is sent as it is")
    func contentType() async throws {
        try await withServer { _ in
            .reply(empty)
        } _: { server, client in
            let request = HTTPRequest(
                method: .post,
                url: server.url + "/a?restore",
                headers: [("Content-Type", "application/xml")],
                body: .bytes(Array("<RestoreRequest/>".utf8))
            )
            _ = try await client.perform(request)
            #expect(server.requests.map { $0.values("content-type") } == [["application/xml"]])
            #expect(server.requests.map { String(decoding: $0.body, as: UTF8.self) } == ["<RestoreRequest/>"])
        }
    }

    @Test(
        "the path and the query arrive byte for byte",
        arguments: [
            "/../a", "/a/./b/../c", "/a%2Fb", "/a%2fb%c3%a9", "//double//slash/", "/a?prefix=%2F&x-oss-acl",
            "/%2E%2E/x", "/a+b%20c?list-type=2&marker=..%2F..", "/~'()*!",
        ]
    )
    func pathAsIs(target: String) async throws {
        try await withServer { _ in
            .reply(empty)
        } _: { server, client in
            _ = try await client.perform(HTTPRequest(method: .get, url: server.url + target))
            #expect(server.requests.map(\.target) == [target])
        }
    }

    @Test("bodies of PUT and POST arrive whole, from none to megabytes, and without Expect")
    func bodies() async throws {
        try await withServer { _ in
            .reply(empty)
        } _: { server, client in
            for method in [HTTPRequest.Method.put, .post] {
                for count in [0, 1, 3 << 20] {
                    let body = (0..<count).map { Server.bodyByte($0) }
                    _ = try await client.perform(
                        HTTPRequest(method: method, url: server.url + "/o", body: .bytes(body))
                    )
                    let request = try #require(server.requests.last)
                    #expect(request.method == method.rawValue)
                    #expect(request.body == body)
                    #expect(request.values("content-length") == ["\(count)"])
                    #expect(request.values("expect") == [])
                    #expect(request.values("transfer-encoding") == [])
                }
            }
        }
    }

    @Test("a kept-alive connection that the server has closed costs a new connection, not a failure")
    func deadConnection() async throws {
        try await withServer { _ in
            .replyThenClose(empty)
        } _: { server, client in
            for _ in 0..<5 {
                let body = [UInt8](repeating: 7, count: 100_000)
                let reply = try await client.perform(
                    HTTPRequest(method: .put, url: server.url + "/o", body: .bytes(body))
                )
                #expect(reply.status == 200)
                #expect(server.requests.last?.body == body)
            }
            #expect(server.acceptedCount == 5)
        }
    }

    @Test("HEAD has headers and no body, and nothing of a request stays for the one after it")
    func handlesAreReset() async throws {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
        try await withServer {
            $0.method == "HEAD" ? .reply(head) : .reply(empty)
        } _: { server, client in
            let put = HTTPRequest(
                method: .put,
                url: server.url + "/1",
                headers: [("x-once", "1")],
                body: .bytes([1, 2, 3])
            )
            _ = try await client.perform(put)
            let reply = try await client.perform(HTTPRequest(method: .head, url: server.url + "/2"))
            #expect(reply.head["content-length"] == "9")
            #expect(reply.body.isEmpty)
            _ = try await client.perform(HTTPRequest(method: .get, url: server.url + "/3"))
            #expect(server.requests.map(\.method) == ["PUT", "HEAD", "GET"])
            for request in server.requests.dropFirst() {
                #expect(request.values("x-once") == [])
                #expect(request.values("content-length") == [])
            }
            #expect(server.acceptedCount == 1)
        }
    }

    @Test(
        "what cannot be sent as it stands is refused before anything is sent",
        arguments: [
            HTTPRequest(method: .get, url: "ftp://127.0.0.1/"),
            HTTPRequest(method: .get, url: "127.0.0.1/"),
            HTTPRequest(method: .get, url: "http:///path"),
            HTTPRequest(method: .get, url: "http://127.0.0.1/a b"),
            HTTPRequest(method: .get, url: "http://127.0.0.1/é"),
            HTTPRequest(method: .get, url: "http://127.0.0.1/a#b"),
            HTTPRequest(method: .get, url: "http://user:word@127.0.0.1/"),
            HTTPRequest(method: .get, url: "http://127.0.0.1:99999/"),
            HTTPRequest(method: .get, url: "http://127.0.0.1/", headers: [("x", "a\r\nInjected: 1")]),
            HTTPRequest(method: .get, url: "http://127.0.0.1/", headers: [("x: y\r\nz", "a")]),
            HTTPRequest(method: .get, url: "http://127.0.0.1/", headers: [("", "a")]),
            HTTPRequest(method: .get, url: "http://127.0.0.1/", body: .bytes([1])),
        ]
    )
    func malformed(request: HTTPRequest) async throws {
        let client = try HTTPClient()
        defer { client.shutdown() }
        let error = await #expect(throws: HTTPError.self) { try await client.perform(request) }
        guard case .malformedRequest = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }
}
