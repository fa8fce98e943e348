import Glibc
import HTTP
import Synchronization
import ThawCore

/// An HTTP server on a loopback port that does exactly as its script says, wrong replies included. One thread for
/// each connection.
final class Server: Sendable {
    struct Request: Sendable {
        /// The request line and the headers, as they came.
        let lines: [String]
        let body: [UInt8]

        var method: String { words[0] }
        var target: String { words[1] }

        private var words: [String] {
            (lines.first ?? "").split(separator: " ").map { String($0) } + ["", ""]
        }

        /// The values of every header of this name, given in lowercase.
        func values(_ name: String) -> [String] {
            lines.dropFirst().compactMap { line in
                let parts = line.split(separator: ":", maxSplits: 1)
                guard parts.count == 2, parts[0].lowercased() == name else { return nil }
                return String(parts[1].drop { $0 == " " })
            }
        }
    }

    enum Action: Sendable {
        /// Sends this text and waits for the next request on the connection.
        case reply(String)
        case replyThenClose(String)
        /// Sends this text and then nothing, until the client closes the connection.
        case hold(String = "")
        /// Sends 200 with a body of this many bytes, `bodyByte` of each index.
        case body(count: Int)
    }

    enum Event: Sendable {
        case request(Request)
        /// A connection has ended, from either side.
        case closed
    }

    struct Failure: Error { let errno: Int32 }

    let port: UInt16
    /// What happens, in order. For one reader.
    let events: AsyncStream<Event>

    private let listener: Int32
    private let readsRequests: Bool
    private let script: @Sendable (Request) -> Action
    private let record: AsyncStream<Event>.Continuation
    private let state = Mutex(State())
    private let acceptor = Mutex<Thread?>(nil)

    private struct State {
        var acceptedCount = 0
        var openCount = 0
        var openCountMax = 0
        var requests: [Request] = []
        var connections: [(descriptor: Int32, thread: Thread)] = []
    }

    var url: String { "http://127.0.0.1:\(port)" }
    var acceptedCount: Int { state.withLock { $0.acceptedCount } }
    var openCountMax: Int { state.withLock { $0.openCountMax } }
    var requests: [Request] { state.withLock { $0.requests } }

    static func bodyByte(_ index: Int) -> UInt8 { UInt8(truncatingIfNeeded: index &* 31 &+ index >> 8) }

    /// Without `readsRequests` the first bytes on a connection, whatever they are, count as a request.
    init(readsRequests: Bool = true, _ script: @escaping @Sendable (Request) -> Action) throws {
        self.readsRequests = readsRequests
        self.script = script
        (events, record) = AsyncStream.makeStream()
        (listener, port) = try Self.listen()
        let thread = try Thread(name: "test-accept") { [self] in acceptConnections() }
        acceptor.withLock { $0 = thread }
    }

    /// Ends every connection and waits for the threads.
    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        acceptor.withLock { $0?.join() }
        let connections = state.withLock { $0.connections }
        for connection in connections { shutdown(connection.descriptor, Int32(SHUT_RDWR)) }
        for connection in connections { connection.thread.join() }
        for connection in connections { close(connection.descriptor) }
        close(listener)
    }

    /// A loopback port on which nothing listens any more.
    static func unusedPort() throws -> UInt16 {
        let (descriptor, port) = try listen()
        close(descriptor)
        return port
    }

    private static func listen() throws -> (Int32, UInt16) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                guard bind(descriptor, address, length) == 0, Glibc.listen(descriptor, 256) == 0 else {
                    return -1
                }
                return Int(getsockname(descriptor, address, &length))
            }
        }
        guard code == 0 else { throw Failure(errno: errno) }
        return (descriptor, UInt16(bigEndian: address.sin_port))
    }

    private func acceptConnections() {
        while true {
            let descriptor = accept(listener, nil, nil)
            guard descriptor >= 0 else { return }
            state.withLock { state in
                state.acceptedCount += 1
                state.openCount += 1
                state.openCountMax = max(state.openCountMax, state.openCount)
                if let thread = try? Thread(name: "test-serve", { [self] in serve(descriptor) }) {
                    state.connections.append((descriptor, thread))
                }
            }
        }
    }

    private func serve(_ descriptor: Int32) {
        var input = Input(descriptor: descriptor)
        var isOpen = true
        while isOpen, let request = readsRequests ? input.request() : input.anything() {
            state.withLock { $0.requests.append(request) }
            record.yield(.request(request))
            switch script(request) {
            case .reply(let text):
                send(Array(text.utf8), to: descriptor)
            case .replyThenClose(let text):
                send(Array(text.utf8), to: descriptor)
                isOpen = false
            case .hold(let text):
                send(Array(text.utf8), to: descriptor)
                while input.fill() {}
                isOpen = false
            case .body(let count):
                send(Array("HTTP/1.1 200 OK\r\nContent-Length: \(count)\r\n\r\n".utf8), to: descriptor)
                send((0..<count).map { Self.bodyByte($0) }, to: descriptor)
            }
        }
        shutdown(descriptor, Int32(SHUT_RDWR))
        state.withLock { $0.openCount -= 1 }
        record.yield(.closed)
    }

    private func send(_ bytes: [UInt8], to descriptor: Int32) {
        bytes.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let part = UnsafeRawBufferPointer(rebasing: rest)
                let count = Glibc.send(descriptor, part.baseAddress, part.count, Int32(MSG_NOSIGNAL))
                guard count > 0 else { return }
                rest = rest.dropFirst(count)
            }
        }
    }

    /// What has come on one connection and is not used yet.
    private struct Input {
        let descriptor: Int32
        var bytes: [UInt8] = []

        /// False at the end of the connection.
        mutating func fill() -> Bool {
            var part = [UInt8](repeating: 0, count: 65536)
            let count = recv(descriptor, &part, part.count, 0)
            guard count > 0 else { return false }
            bytes += part.prefix(count)
            return true
        }

        mutating func anything() -> Request? { fill() ? Request(lines: [], body: bytes) : nil }

        mutating func request() -> Request? {
            while true {
                if let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) {
                    let lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).split(
                        separator: "\r\n"
                    )
                    let head = Request(lines: lines.map { String($0) }, body: [])
                    let length = head.values("content-length").first.flatMap { Int($0) } ?? 0
                    while bytes.count < end.upperBound + length {
                        guard fill() else { return nil }
                    }
                    let body = Array(bytes[end.upperBound..<end.upperBound + length])
                    bytes.removeFirst(end.upperBound + length)
                    return Request(lines: head.lines, body: body)
                }
                guard fill() else { return nil }
            }
        }
    }
}

/// Runs `body` with a server and a client, and ends both.
func withServer<Result>(
    configuration: HTTPClient.Configuration = .init(),
    _ script: @escaping @Sendable (Server.Request) -> Server.Action,
    _ body: (Server, HTTPClient) async throws -> Result
) async throws -> Result {
    let server = try Server(script)
    defer { server.stop() }
    let client = try HTTPClient(configuration: configuration)
    defer { client.shutdown() }
    return try await body(server, client)
}
