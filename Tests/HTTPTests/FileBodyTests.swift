import Glibc
import HTTP
import Testing
import ThawCore

private let empty = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

/// Request bodies that are part of a file.
@Suite struct FileBodyTests {
    @Test("a file's range arrives, whatever its size and place")
    func ranges() async throws {
        let content = (0..<3_000_000).map { Server.bodyByte($0) }
        let file = try file(content)
        try await withServer { _ in
            .reply(empty)
        } _: { server, client in
            let ranges: [Range<UInt64>] = [0..<0, 0..<1, 1_000_000..<3_000_000, 0..<3_000_000, 2_999_999..<3_000_000]
            for range in ranges {
                let request = HTTPRequest(method: .put, url: server.url + "/o", body: .file(file, range))
                let reply = try await client.perform(request)
                #expect(reply.status == 200)
                let got = try #require(server.requests.last)
                #expect(got.body == Array(content[Int(range.lowerBound)..<Int(range.upperBound)]))
                #expect(got.values("content-length") == ["\(range.count)"])
                #expect(got.values("content-type") == [])
            }
        }
    }

    @Test("a body is sent again from its start when a kept-alive connection was closed")
    func sentAgain() async throws {
        let content = (0..<200_000).map { Server.bodyByte($0) }
        let file = try file(content)
        try await withServer { _ in
            .replyThenClose(empty)
        } _: { server, client in
            for _ in 0..<3 {
                let request = HTTPRequest(method: .put, url: server.url + "/o", body: .file(file, 7..<200_000))
                let reply = try await client.perform(request)
                #expect(reply.status == 200)
                #expect(server.requests.last?.body == Array(content[7...]))
            }
        }
    }

    @Test("a file that is too short, or cannot be read, fails the request, and no short body arrives")
    func unreadable() async throws {
        let short = try file([UInt8](repeating: 1, count: 1_000_000))
        let writeOnly = LocalFile(descriptor: open("/dev/null", O_WRONLY))
        try await withServer { _ in
            .reply(empty)
        } _: { server, client in
            for file in [short, writeOnly] {
                let request = HTTPRequest(method: .put, url: server.url + "/o", body: .file(file, 0..<1_000_001))
                let error = await #expect(throws: HTTPError.self) { try await client.perform(request) }
                guard case .unreadable(let words) = error else {
                    Issue.record("\(String(describing: error))")
                    continue
                }
                #expect(words.contains(file === short ? "ends at byte 1000000" : "Bad file descriptor"))
            }
            #expect(server.requests.isEmpty)
        }
    }

    private func file(_ content: [UInt8]) throws -> LocalFile {
        var path = Array("/tmp/thawfs-XXXXXX".utf8CString)
        let descriptor = mkstemp(&path)
        try #require(descriptor >= 0)
        unlink(path)
        let file = LocalFile(descriptor: descriptor)
        guard case .success = content.withUnsafeBytes({ file.write($0, at: 0) }) else {
            throw HTTPError.unreadable("no room in /tmp")
        }
        return file
    }
}
