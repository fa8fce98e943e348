import Foundation
import HTTP
import Testing

/// `openssl s_server` with a self-signed certificate for 127.0.0.1, which answers any GET with a page.
final class TLSServer {
    let port: Int
    /// The certificate, which is its own authority.
    let caFile: String
    private let process = Process()
    private let directory: URL

    init() throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent(
            "thawfs-\(UUID().uuidString)"
        )
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        let key = directory.appendingPathComponent("key.pem").path
        caFile = directory.appendingPathComponent("certificate.pem").path

        let request = Process()
        request.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        request.arguments = [
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
            "2",
            "-subj", "/CN=thawfs test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out",
            caFile,
        ]
        request.standardError = FileHandle.nullDevice
        try request.run()
        request.waitUntilExit()

        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = ["s_server", "-accept", "127.0.0.1:0", "-cert", caFile, "-key", key, "-www"]
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        port = try Self.port(output.fileHandleForReading)
    }

    func stop() {
        // Not SIGTERM: a child of a dispatch thread is born with signals blocked.
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        try? FileManager.default.removeItem(at: directory)
    }

    struct NoPort: Error { let output: String }

    /// From the line `ACCEPT 127.0.0.1:port`, printed when it listens.
    private static func port(_ output: FileHandle) throws -> Int {
        var text = ""
        while true {
            let part = output.availableData
            guard !part.isEmpty else { throw NoPort(output: text) }
            text += String(decoding: part, as: UTF8.self)
            let line = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().first {
                $0.hasPrefix("ACCEPT ")
            }
            if let port = line?.split(separator: ":").last.flatMap({ Int($0) }) { return port }
        }
    }
}

@Suite struct TLSTests {
    @Test("a certificate that no known authority signed is a TLS failure; with its authority it is trusted")
    func selfSigned() async throws {
        let server = try TLSServer()
        defer { server.stop() }
        let request = HTTPRequest(method: .get, url: "https://127.0.0.1:\(server.port)/")

        let distrustful = try HTTPClient()
        defer { distrustful.shutdown() }
        let error = await #expect(throws: HTTPError.self) { try await distrustful.perform(request) }
        guard case .tls(let words) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(words.contains("self-signed"))

        var configuration = HTTPClient.Configuration()
        configuration.caFile = server.caFile
        let trustful = try HTTPClient(configuration: configuration)
        defer { trustful.shutdown() }
        let reply = try await trustful.perform(request)
        #expect(reply.status == 200)
        #expect(String(decoding: reply.body, as: UTF8.self).contains("TLSv1."))

        let otherName = HTTPRequest(method: .get, url: "https://localhost:\(server.port)/")
        let nameError = await #expect(throws: HTTPError.self) { try await trustful.perform(otherName) }
        guard case .tls = nameError else {
            Issue.record("\(String(describing: nameError))")
            return
        }
    }

    @Test("a file of authorities that is not there is a TLS failure")
    func missingAuthorities() async throws {
        let server = try TLSServer()
        defer { server.stop() }
        var configuration = HTTPClient.Configuration()
        configuration.caFile = "/nonexistent/authorities.pem"
        let client = try HTTPClient(configuration: configuration)
        defer { client.shutdown() }
        let request = HTTPRequest(method: .get, url: "https://127.0.0.1:\(server.port)/")
        let error = await #expect(throws: HTTPError.self) { try await client.perform(request) }
        guard case .tls = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("a server that speaks no TLS is a TLS failure")
    func noTLS() async throws {
        let error = try await handshakeFailure(within: .seconds(60)) {
            .reply("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        }
        guard case .tls = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("a handshake that breaks, or does not come in time, is a failure to connect")
    func brokenHandshake() async throws {
        for action in [Server.Action.replyThenClose(""), .hold()] {
            let error = try await handshakeFailure { action }
            guard case .connect = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
    }

    /// What an https request meets at a server that answers the first bytes with `action`.
    private func handshakeFailure(
        within timeout: Duration = .milliseconds(300), _ action: @escaping @Sendable () -> Server.Action
    ) async throws -> HTTPError? {
        var configuration = HTTPClient.Configuration()
        configuration.connectTimeout = timeout
        let server = try Server(readsRequests: false) { _ in action() }
        defer { server.stop() }
        let client = try HTTPClient(configuration: configuration)
        defer { client.shutdown() }
        let request = HTTPRequest(method: .get, url: "https://127.0.0.1:\(server.port)/")
        return await #expect(throws: HTTPError.self) { try await client.perform(request) }
    }
}
