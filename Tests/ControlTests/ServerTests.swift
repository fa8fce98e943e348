import Control
import Glibc
import Logging
import Synchronization
import Testing
import ThawCore
import ThawTesting

@Suite("the control socket")
struct ServerTests {
    @Test("a line is answered by a line, as often as one is sent")
    func answers() async throws {
        try await withServer { socket in
            var client = try ControlClient(connectingTo: socket, timeout: .seconds(30), isTrusted: isOurs)
            for number in 1...3 {
                try client.send(["say": .init("line \(number)")])
                #expect(try client.receive() == ["said": .init("line \(number)")])
            }
        }
    }

    @Test("an answer that is an error is thrown with the daemon's words")
    func refusals() async throws {
        try await withServer { socket in
            var client = try ControlClient(connectingTo: socket, timeout: .seconds(30), isTrusted: isOurs)
            try client.send("no object")
            let failure = error { () throws(ControlError) in try client.receive() }
            #expect(failure == .refused("expected a line with say"))
        }
    }

    @Test("an answer that takes long is announced, and waited for")
    func working() async throws {
        try await withServer { socket in
            var client = try ControlClient(connectingTo: socket, timeout: .seconds(30), isTrusted: isOurs)
            try client.send(["say": "late", "working": 3])
            #expect(try client.receive() == ["said": "late"])
        }
    }

    @Test("a daemon at work that takes nothing more is sent the rest when it does, as long as it says that it works")
    func sendingToTheBusy() async throws {
        let directory = try TemporaryDirectory()
        let socket = ControlSocket(directory: directory.path)
        // More of both than the sockets hold: neither end gets on unless the client listens while it sends.
        let server = try ControlServer(at: socket, log: Logger(label: "test")) { peer in
            for _ in 0..<5_000 { await peer.send("{\"working\":true}") }
            var count = 0
            while let line = try? await peer.nextLine(), JSON(line)?["end"] == nil { count += 1 }
            await peer.send(JSON.object(["count": JSON(count)]).text)
        }
        defer { server.stop() }
        try await onThread {
            var client = try ControlClient(connectingTo: socket, timeout: .seconds(10), isTrusted: isOurs)
            let filler = String(repeating: "x", count: 60_000)
            for _ in 0..<100 { try client.send(["say": .init(filler)]) }
            try client.send(["end": true])
            #expect(try client.receive() == ["count": 100])
        }
    }

    @Test("a command that is refused before all of it was sent has its answer")
    func earlyRefusal() async throws {
        let directory = try TemporaryDirectory()
        let socket = ControlSocket(directory: directory.path)
        let server = try ControlServer(at: socket, log: Logger(label: "test")) { peer in
            _ = try? await peer.nextLine()
            await peer.send("{\"error\":\"no\"}")
        }
        defer { server.stop() }
        try await onThread {
            var client = try ControlClient(connectingTo: socket, timeout: .seconds(10), isTrusted: isOurs)
            for _ in 0..<100 { try client.send(["say": .init(String(repeating: "x", count: 60_000))]) }
            let failure = error { () throws(ControlError) in try client.receive() }
            #expect(failure == .refused("no"))
        }
    }

    @Test("whoever answers in another's name is sent nothing")
    func impostors() async throws {
        try await withServer { socket in
            let failure = error { () throws(ControlError) in
                _ = try ControlClient(connectingTo: socket, timeout: .seconds(30)) { $0 == geteuid() + 1 }
            }
            #expect(failure == .untrusted(path: socket.path, uid: geteuid()))
        }
    }

    @Test("only its owner may connect, wherever the umask stands")
    func mode() async throws {
        try await withServer { socket in
            var status = stat()
            #expect(stat(socket.path, &status) == 0)
            #expect(status.st_mode & 0o777 == 0o600)
        }
    }

    @Test("a path longer than an address holds is no hindrance")
    func longPaths() async throws {
        let directory = try TemporaryDirectory()
        var path = directory.path
        for _ in 0..<10 {
            path += "/" + String(repeating: "d", count: 50)
            #expect(mkdir(path, 0o700) == 0)
        }
        try await withServer(in: path) { socket in
            #expect(socket.path.utf8.count > 108)
            let answer = try ask(socket, "far")
            #expect(answer == "far")
        }
    }

    @Test("garbage is answered with an error, and the next line is as good as any")
    func garbage() async throws {
        try await withServer { socket in
            let raw = try RawClient(socket)
            raw.send("\u{0}\u{1}{{{\n\n[[[\n{\"say\":\"well\"}\n")
            let answers = raw.receiveLines(4)
            #expect(answers.dropLast().allSatisfy { $0.hasPrefix("{\"error\"") })
            #expect(answers.last == "{\"said\":\"well\"}")
        }
    }

    @Test("a line that never ends is refused and its connection closed, and others are served")
    func tooLong() async throws {
        var limits = ControlServer.Limits()
        limits.lineBytesMax = 1000
        try await withServer(limits: limits) { socket in
            let raw = try RawClient(socket)
            raw.send(String(repeating: "x", count: 5000))
            #expect(raw.receiveLines(2) == ["{\"error\":\"a line is longer than 1000 bytes\"}"])
            #expect(try ask(socket, "after") == "after")
        }
    }

    @Test("peers that connect and say nothing are dropped, and do not keep others out")
    func hangingPeers() async throws {
        var limits = ControlServer.Limits()
        limits.peersMax = 4
        limits.idle = .seconds(1)
        try await withServer(limits: limits) { socket in
            let hanging = try (0..<8).map { _ in try RawClient(socket) }
            for peer in hanging.prefix(2) { peer.send("{\"say\":\"half a") }
            #expect(try ask(socket, "me") == "me")
            for peer in hanging { #expect(peer.receiveLines(1).isEmpty) }
        }
    }

    @Test("a peer that takes no answer is dropped, and does not keep others out")
    func deafPeers() async throws {
        var limits = ControlServer.Limits()
        limits.peersMax = 1
        limits.idle = .seconds(1)
        try await withServer(limits: limits, padding: 4 << 20) { socket in
            let deaf = try RawClient(socket)
            deaf.send("{\"say\":\"much\"}\n")
            #expect(try ask(socket, "me").hasPrefix("me"))
        }
    }

    @Test("more peers than are served at once all get their turn")
    func manyPeers() async throws {
        var limits = ControlServer.Limits()
        limits.peersMax = 3
        let answers = Answers()
        try await withServer(limits: limits) { socket in
            let peers = try (0..<50).map { number in
                try Thread(name: "peer") {
                    let answer = try? ask(socket, "\(number)")
                    answers.all.withLock { _ = $0.insert(answer ?? "") }
                }
            }
            for peer in peers { peer.join() }
        }
        #expect(answers.all.withLock { $0 } == Set((0..<50).map(String.init)))
    }

    @Test("whoever hangs up is noticed by the task that serves them")
    func hangUps() async throws {
        let ends = Mutex(0)
        try await withServer(onEnd: { ends.withLock { $0 += 1 } }) { socket in
            let raw = try RawClient(socket)
            // So that it has been accepted when the server stops.
            raw.send("{\"say\":\"whole\"}\n")
            #expect(raw.receiveLines(1).count == 1)
            raw.send("{\"say\":\"half")
        }
        #expect(await eventually { ends.withLock { $0 } == 1 })
    }

    @Test("what a daemon that was killed left behind is replaced")
    func staleSocket() async throws {
        let directory = try TemporaryDirectory()
        let socket = ControlSocket(directory: directory.path)
        // Bound and closed without being removed, as by a kill.
        let stale = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: socket.path.utf8) }
        let code = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(stale, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        #expect(code == 0)
        close(stale)
        #expect(throws: ControlError.notListening(path: socket.path)) { try ask(socket, "anybody") }
        try await withServer(in: directory.path) { socket in
            let answer = try ask(socket, "new")
            #expect(answer == "new")
        }
    }

    @Test("at its end the socket is gone, and whoever waits is told")
    func theEnd() async throws {
        let directory = try TemporaryDirectory()
        let socket = ControlSocket(directory: directory.path)
        let server = try ControlServer(at: socket, log: Logger(label: "test"), serve: { await serveEcho($0) })
        let waiting = try RawClient(socket)
        server.stop()
        #expect(directory.names.isEmpty)
        #expect(waiting.receiveLines(1).isEmpty)
        #expect(throws: ControlError.notListening(path: socket.path)) { try ask(socket, "anybody") }
    }

    @Test("a daemon that accepts and does not answer is given up on")
    func silence() async throws {
        let directory = try TemporaryDirectory()
        let socket = ControlSocket(directory: directory.path)
        let server = try ControlServer(at: socket, log: Logger(label: "test")) { peer in
            while (try? await peer.nextLine()) != nil {}
        }
        defer { server.stop() }
        try await onThread {
            var client = try ControlClient(connectingTo: socket, timeout: .milliseconds(50), isTrusted: isOurs)
            try client.send(["say": "something"])
            let failure = error { () throws(ControlError) in try client.receive() }
            #expect(failure == .noAnswer)
        }
    }
}

// MARK: What they talk to

/// Answers `{"say": TEXT}` with `{"said": TEXT}`, and so many blanks behind the text.
private func serveEcho(_ peer: ControlPeer, padding: Int = 0) async {
    do throws(ControlError) {
        while let line = try await peer.nextLine() {
            let text = JSON(line)?["say"]?.string
            for _ in 0..<(JSON(line)?["working"]?.int ?? 0) { await peer.send("{\"working\":true}") }
            let answer: JSON = text.map { ["said": .init($0 + String(repeating: " ", count: padding))] }
                ?? ["error": "expected a line with say"]
            await peer.send(answer.text)
        }
    } catch {
        await peer.send(JSON.object(["error": .init("\(error)")]).text)
    }
}

private final class Answers: Sendable {
    let all = Mutex(Set<String>())
}

/// Runs the body on a thread of its own: a client blocks, and the daemon's tasks need the pool's threads.
private func withServer(
    in path: String? = nil, limits: ControlServer.Limits = .init(), padding: Int = 0,
    onEnd: @escaping @Sendable () -> Void = {}, _ body: @escaping @Sendable (ControlSocket) throws -> Void
) async throws {
    let directory = try TemporaryDirectory()
    let socket = ControlSocket(directory: path ?? directory.path)
    let server = try ControlServer(at: socket, limits: limits, log: Logger(label: "test")) { peer in
        await serveEcho(peer, padding: padding)
        onEnd()
    }
    defer { server.stop() }
    try await onThread { try body(socket) }
}

private func onThread(_ body: @escaping @Sendable () throws -> Void) async throws {
    let result: Result<Void, any Error> = await withCheckedContinuation { continuation in
        do {
            _ = try Thread(name: "client") { continuation.resume(returning: Result(catching: body)) }
        } catch {
            continuation.resume(returning: .failure(error))
        }
    }
    try result.get()
}

/// The error that a call throws; nil when it throws none.
private func error<Value>(_ body: () throws(ControlError) -> Value) -> ControlError? {
    do throws(ControlError) { _ = try body() } catch { return error }
    return nil
}

private func isOurs(_ user: UInt32) -> Bool { user == geteuid() }

private func ask(_ socket: ControlSocket, _ text: String) throws -> String {
    var client = try ControlClient(connectingTo: socket, timeout: .seconds(120), isTrusted: isOurs)
    try client.send(["say": .init(text)])
    return try client.receive()["said"]?.string ?? ""
}

/// A peer that keeps to no protocol. Connects by the client's own way, and sends what it likes.
private final class RawClient {
    private let descriptor: Int32

    init(_ socket: ControlSocket) throws {
        descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: socket.path.utf8) }
        let (descriptor, size) = (descriptor, socklen_t(MemoryLayout<sockaddr_un>.size))
        let code = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
        }
        guard code == 0 else { throw ControlError.socket(path: socket.path, errno: errno) }
    }

    deinit { close(descriptor) }

    func send(_ text: String) {
        let bytes = Array(text.utf8)
        #expect(Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
    }

    /// So many lines, or fewer when the connection ends before.
    func receiveLines(_ count: Int) -> [String] {
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while bytes.count(where: { $0 == UInt8(ascii: "\n") }) < count {
            let received = recv(descriptor, &piece, piece.count, 0)
            guard received > 0 else { break }
            bytes += piece[..<received]
        }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
    }
}
