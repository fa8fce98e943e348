import Glibc
import Logging
import Metadata
import ObjectStore
import Restore
import Synchronization
import Testing
import ThawCore
import ThawTesting
import Upload

@testable import Control
@testable import thawfs

/// Notes what is asked of it.
private final class FakeDesk: RestoreDesk {
    struct State: Equatable {
        var batches: [Int] = []
        var committed: [Int64] = []
        var abandoned: [Int64] = []
        var surveyed: [Int] = []
    }

    let state = Mutex(State())
    let failure: RestoreError?
    /// Holds surveys back.
    let gate: Gate?

    init(failure: RestoreError? = nil, gate: Gate? = nil) {
        self.failure = failure
        self.gate = gate
    }

    func begin(_ wish: RestoreWish, target: String, for requester: Requester) -> Int64 { 17 }

    func add(_ scopes: [RestoreScope], to request: Int64) throws(RestoreError) {
        if let failure { throw failure }
        state.withLock { $0.batches.append(scopes.count) }
    }

    func commit(_ request: Int64) { state.withLock { $0.committed.append(request) } }
    func abandon(_ request: Int64) { state.withLock { $0.abandoned.append(request) } }

    func survey(_ wish: RestoreWish, _ scopes: [RestoreScope]) async -> Survey {
        await gate?.pass()
        state.withLock { $0.surveyed.append(scopes.count) }
        var survey = Survey()
        survey.online = Tally(objects: scopes.count, bytes: 0)
        return survey
    }

    func requests() -> [RequestSummary] { [] }
    func request(_ id: Int64) -> RequestSummary? { nil }
    func whoWaits() -> [WaiterSummary] { [] }
    func laneSummaries() -> [LaneSummary] { [] }
}

@Suite("what a daemon answers")
struct ControlServiceTests {
    private static let restore: JSON = ["command": "restore", "requester": "me", "target": "files"]
    private static let end: JSON = ["end": true]

    private static func files(_ count: Int) -> [JSON] {
        (0..<count).map { RestoreScope(.object, ObjectKey("file \($0)")).json }
    }

    @Test("files come in batches of a thousand, and the end makes them a request")
    func batches() async throws {
        let desk = FakeDesk()
        let answer = try await ask(desk, [Self.restore] + Self.files(2500) + [Self.end])
        #expect(answer["id"] == 17)
        #expect(desk.state.withLock { $0 } == .init(batches: [1000, 1000, 500], committed: [17]))
    }

    @Test("a survey adds up its batches, and makes no request")
    func survey() async throws {
        let desk = FakeDesk()
        let answer = try await ask(desk, [["command": "survey"]] + Self.files(1500) + [Self.end])
        #expect(answer["survey"]?["online"]?["objects"] == 1500)
        #expect(desk.state.withLock { $0 } == .init(surveyed: [1000, 500]))
    }

    @Test("whoever waits long for an answer is told that it is being worked on")
    func patience() async throws {
        let gate = Gate()
        let lines = try await serving(FakeDesk(gate: gate), patience: .milliseconds(1)) { socket in
            let descriptor = try socket.connect(timeout: .seconds(30)) { $0 == geteuid() }
            defer { close(descriptor) }
            let command = Array("{\"command\":\"survey\"}\n{\"key\":\"k\"}\n{\"end\":true}\n".utf8)
            #expect(send(descriptor, command, command.count, 0) == command.count)
            var lines: [[UInt8]] = []
            var buffer = LineBuffer(bytesMax: 4096)
            var piece = [UInt8](repeating: 0, count: 4096)
            while JSON(lines.last ?? [])?["survey"] == nil {
                let count = recv(descriptor, &piece, piece.count, 0)
                guard count > 0 else { break }
                lines += try buffer.append(piece[..<count])
                if !lines.isEmpty { gate.open() }
            }
            return lines
        }
        #expect(lines.count > 1)
        #expect(lines.dropLast().allSatisfy { JSON($0) == ["working": true] })
        #expect(JSON(lines.last ?? [])?["survey"]?["online"]?["objects"] == 1)
    }

    @Test("whoever hangs up before the end has asked for nothing")
    func hangUp() async throws {
        let desk = FakeDesk()
        _ = try? await ask(desk, [Self.restore] + Self.files(1500), hangingUp: true)
        #expect(await eventually { desk.state.withLock { $0.abandoned == [17] } })
        #expect(desk.state.withLock { $0.committed.isEmpty })
    }

    @Test("a line that names no key ends the request, which is given up")
    func badScope() async throws {
        let desk = FakeDesk()
        await #expect(throws: ControlError.refused("a line names no key: {\"key\":\"%zz\"}")) {
            try await ask(desk, [Self.restore, ["key": "%zz"]] + Self.files(100_000) + [Self.end])
        }
        #expect(desk.state.withLock { $0 } == .init(abandoned: [17]))
    }

    @Test("what the engine refuses is told in its words, also in the middle of many lines")
    func refusal() async throws {
        let desk = FakeDesk(failure: .notRemembered("the disk is full"))
        await #expect(throws: ControlError.refused("the queue cannot be written: the disk is full")) {
            try await ask(desk, [Self.restore] + Self.files(100_000) + [Self.end])
        }
        #expect(desk.state.withLock { $0 } == .init(abandoned: [17]))
    }

    @Test(
        "what is no command is refused",
        arguments: [
            ["command": "dance"], ["command": "request"], ["no": "command"], "text",
            ["command": "restore", "days": 0], ["command": "survey", "days": "many"],
            ["command": "survey", "tier": "Slow"],
        ] as [JSON])
    func nonsense(line: JSON) async throws {
        let error = await #expect(throws: ControlError.self) { try await ask(FakeDesk(), [line]) }
        guard case .refused = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("a request that is not known is null, and the status has all its parts")
    func shape() async throws {
        let request = try await ask(FakeDesk(), [["command": "request", "id": 5]])
        #expect(request["request"] == .null)
        let status = try await ask(FakeDesk(), [["command": "status"]])
        #expect(status["mount"]?["source"] == "oss://bkt")
        for name in ["requests", "waiters", "lanes", "uploads"] { #expect(status[name] == []) }
        #expect(status["upload_totals"] == ["files": 0, "bytes": 0, "sent_bytes": 0, "failing": 0, "kept": 0])
        #expect(status["cache"] == .null && status["last_failure"] == .null)
        #expect(status["traffic"] == ["requests": 0, "failed": 0, "received_bytes": 0, "sent_bytes": 0])
        #expect(MountStatus(status) != nil)
    }

    @Test("traffic, cache and the last failure are told, and shown in a line each")
    func figures() async throws {
        var figures = MountFigures()
        (figures.traffic.requests, figures.traffic.failed) = (1234, 5)
        (figures.traffic.receivedBytes, figures.traffic.sentBytes) = (3 << 30, 2048)
        figures.cache = .init(bytes: 1 << 20, bytesMax: 10 << 30, readBytes: 512)
        figures.failure = .init(text: "read of a/b failed: 403 AccessDenied", time: Timestamp(seconds: 2))
        let status = try await ask(FakeDesk(), [["command": "status"]], figures: figures)
        #expect(MountFigures(status) == figures)
        #expect(
            try #require(MountStatus(status)).lines(at: Timestamp(seconds: 62)).suffix(3) == [
                "  traffic: 1,234 requests, 5 failed, 3 GiB received, 2 KiB sent",
                "  cache: 1 MiB of 10 GiB, 512 B read from it",
                "  last failure, 1 min ago: read of a/b failed: 403 AccessDenied",
            ])
    }

    @Test("what is not stored yet is told whole to those who ask for it, and without ranges in the status")
    func uploads() async throws {
        let uploads = [
            UploadSummary(
                key: ObjectKey("a b/ü"), sizeBytes: 10, sentBytes: 4, stage: .failed, since: Timestamp(seconds: 2),
                error: "AccessDenied", stagingPath: "/cache/1", isComplete: false, ranges: [0..<2, 6..<9]),
            UploadSummary(
                key: ObjectKey("c"), sizeBytes: 5, sentBytes: 0, stage: .waiting, since: Timestamp(seconds: 2),
                stagingPath: "/cache/2", isComplete: true),
        ]
        let whole = try await ask(FakeDesk(), [["command": "uploads"]], uploads: uploads)
        #expect(whole["uploads"]?.array?.compactMap { UploadSummary($0) } == uploads)
        let status = try await ask(FakeDesk(), [["command": "status"]], uploads: uploads)
        #expect(status["uploads"]?.array?.map { $0["ranges"] } == [nil, nil])
        #expect(status["upload_totals"] == ["files": 2, "bytes": 15, "sent_bytes": 4, "failing": 1, "kept": 0])
        let lines = try #require(MountStatus(status)).lines(at: Timestamp(seconds: 62))
        #expect(
            lines.suffix(5).dropLast() == [
                "  2 files not stored yet, 11 B of 15 B left, 1 failing: AccessDenied",
                "    state      age  bytes  sent  key", "    failed   1 min   10 B   4 B  a b/ü: AccessDenied",
                "    waiting  1 min    5 B     -  c",
            ])
    }
}

/// Sends lines to a service with this desk, and answers the reply.
private func ask(
    _ desk: FakeDesk, _ lines: [JSON], uploads: [UploadSummary] = [], figures: MountFigures = .init(),
    hangingUp: Bool = false
) async throws -> JSON {
    try await serving(desk, uploads: uploads, figures: figures) { socket in
        var client = try ControlClient(connectingTo: socket, timeout: .seconds(hangingUp ? 1 : 30)) { $0 == geteuid() }
        for line in lines { try client.send(line) }
        return try client.receive()
    }
}

/// Runs `talk` on a thread of its own, beside a service: a client blocks, and the service needs the pool's threads.
private func serving<Answer: Sendable>(
    _ desk: FakeDesk, uploads: [UploadSummary] = [], figures: MountFigures = .init(),
    patience: Duration = .seconds(5),
    _ talk: @escaping @Sendable (ControlSocket) throws -> Answer
) async throws -> Answer {
    let directory = try TemporaryDirectory()
    let socket = ControlSocket(directory: directory.path)
    let service = ControlService(
        source: "oss://bkt", mountpoint: "/mnt", restores: desk, uploads: { uploads },
        figures: { figures }, leave: {}, patience: patience)
    let server = try ControlServer(at: socket, log: Logger(label: "test")) { await service.serve($0) }
    defer { server.stop() }
    let result: Result<Answer, any Error> = await withCheckedContinuation { continuation in
        do {
            _ = try Thread(name: "client") { continuation.resume(returning: Result { try talk(socket) }) }
        } catch {
            continuation.resume(returning: .failure(error))
        }
    }
    return try result.get()
}
