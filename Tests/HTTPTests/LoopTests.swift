import HTTP
import Testing

/// Cancelling, failing and sharing the loop.
@Suite struct LoopTests {
    @Test(
        "cancelling the task ends the transfer at once and closes its connection",
        arguments: ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"]
    )
    func cancellation(reply: String) async throws {
        try await withServer {
            $0.target == "/held" ? .hold(reply) : .body(count: 10)
        } _: { server, client in
            var events = server.events.makeAsyncIterator()
            let task = get(client, server.url + "/held")
            _ = await events.next()
            task.cancel()
            #expect(await task.value.failure == .cancelled)
            guard case .closed = await events.next() else {
                Issue.record("the connection stayed open")
                return
            }
            #expect(await get(client, server.url + "/").value.body?.count == 10)
        }
    }

    @Test("a task that was cancelled before it asked gets no reply")
    func cancelledBefore() async throws {
        try await withServer { _ in
            .hold()
        } _: { server, client in
            let task = Task { () async -> HTTPError? in
                withUnsafeCurrentTask { $0?.cancel() }
                return await reply(client, server.url + "/").failure
            }
            #expect(await task.value == .cancelled)
        }
    }

    @Test("a request that waits for its turn can be cancelled, and the others get theirs")
    func cancelWaiting() async throws {
        var configuration = HTTPClient.Configuration()
        configuration.connectionsMax = 1
        try await withServer(configuration: configuration) { request in
            request.target == "/held" ? .hold() : .body(count: 1)
        } _: { server, client in
            var events = server.events.makeAsyncIterator()
            let held = get(client, server.url + "/held")
            _ = await events.next()
            let waiting = get(client, server.url + "/never")
            let patient = get(client, server.url + "/then")
            waiting.cancel()
            #expect(await waiting.value.failure == .cancelled)
            held.cancel()
            #expect(await patient.value.body?.count == 1)
            #expect(server.requests.map(\.target) == ["/held", "/then"])
        }
    }

    @Test("200 requests at once all get their own reply over no more connections than allowed")
    func parallel() async throws {
        var configuration = HTTPClient.Configuration()
        configuration.connectionsMax = 8
        try await withServer(configuration: configuration) { request in
            .reply("HTTP/1.1 200 OK\r\nContent-Length: \(request.target.utf8.count)\r\n\r\n\(request.target)")
        } _: { server, client in
            let tasks = (0..<200).map { get(client, "\(server.url)/\($0)") }
            for (index, task) in tasks.enumerated() {
                #expect(await task.value.body == Array("/\(index)".utf8))
            }
            #expect(server.requests.count == 200)
            #expect(server.openCountMax <= 8)
            #expect(server.acceptedCount <= 8)
        }
    }

    @Test("shutting down fails what is in flight and what comes after, however often it is called")
    func shutdown() async throws {
        try await withServer { _ in
            .hold()
        } _: { server, client in
            var events = server.events.makeAsyncIterator()
            let task = get(client, server.url + "/")
            _ = await events.next()
            client.shutdown()
            #expect(await task.value.failure == .cancelled)
            client.shutdown()
            #expect(await get(client, server.url + "/").value.failure == .cancelled)
        }
    }

    @Test("a client that nobody holds ends its thread and its connections")
    func deinitialisation() async throws {
        let server = try Server { _ in .body(count: 1) }
        defer { server.stop() }
        var events = server.events.makeAsyncIterator()
        do {
            let client = try HTTPClient()
            _ = try await client.perform(HTTPRequest(method: .get, url: server.url + "/"))
        }
        _ = await events.next()
        guard case .closed = await events.next() else {
            Issue.record("the connection stayed open")
            return
        }
    }

    @Test(
        "a reply that does not come in time is a timeout",
        arguments: ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"]
    )
    func timeout(reply: String) async throws {
        let error = try await failure(of: .hold(reply), timeout: .milliseconds(200))
        guard case .timeout = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("a port that refuses and a name that does not resolve are failures to connect")
    func connect() async throws {
        let client = try HTTPClient()
        defer { client.shutdown() }
        for url in ["http://127.0.0.1:\(try Server.unusedPort())/", "http://bucket.invalid/"] {
            guard case .connect(let words) = await get(client, url).value.failure else {
                Issue.record("\(url) did not fail to connect")
                return
            }
            #expect(!words.isEmpty)
        }
    }

    private func get(_ client: HTTPClient, _ url: String) -> Task<Result<HTTPResponse, HTTPError>, Never> {
        Task { await reply(client, url) }
    }

    private func reply(_ client: HTTPClient, _ url: String) async -> Result<HTTPResponse, HTTPError> {
        do throws(HTTPError) {
            return .success(try await client.perform(HTTPRequest(method: .get, url: url)))
        } catch {
            return .failure(error)
        }
    }
}

extension Result where Success == HTTPResponse, Failure == HTTPError {
    var body: [UInt8]? { try? get().body }

    var failure: HTTPError? {
        if case .failure(let failure) = self { return failure }
        return nil
    }
}
