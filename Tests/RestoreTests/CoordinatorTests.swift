import Logging
import Metadata
import ObjectStore
import Restore
import Synchronization
import Testing
import ThawCore
import ThawTesting
import Wire

private let key = ObjectKey("dir/file")

/// A coordinator over a fake store and time that the test moves.
private struct Fixture {
    let directory: TemporaryDirectory
    let store: FakeStore
    let clock = ManualClock()
    let writer: MetadataWriter
    let learned = Learned()
    let coordinator: RestoreCoordinator

    final class Learned: Sendable {
        private let states = Mutex<[RestoreHeader?]>([])
        private let gone = Mutex(0)
        var headers: [RestoreHeader?] { states.withLock { $0 } }
        var goneCount: Int { gone.withLock { $0 } }
        func note(_ record: ObjectRecord?) {
            if let record { states.withLock { $0.append(record.restore) } } else { gone.withLock { $0 += 1 } }
        }
    }

    init(_ dialect: Dialect = .oss, class name: String = "ColdArchive") throws {
        directory = try TemporaryDirectory()
        store = FakeStore(dialect)
        store.put(key, [1], class: name)
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        writer = try MetadataWriter(
            path: directory.path + "/db", executor: try ThreadExecutor(name: "db-writer"), log: quiet)
        coordinator = RestoreCoordinator(
            store: store, context: ArchiveContext(dialect: dialect, hasDirectRead: false), writer: writer, log: quiet,
            clock: RestoreClock(now: { [clock] in clock.now }, sleep: { [clock] in try await clock.sleep(until: $0) })
        ) { [learned] _, _, record in learned.note(record) }
    }

    func target(_ name: String = "ColdArchive") throws -> RestoreTarget {
        RestoreTarget(
            key: key, version: nil, storageClass: StorageClass(name),
            rules: try #require(StorageClass(name).archiveRules(store.dialect)))
    }

    @discardableResult
    func request(
        days: Int? = 3, tier: RestoreTier? = .standard, by origin: RestoreOrigin = .command
    ) async throws -> RestoreReply {
        try await coordinator.request(try target(), RestoreOrder(days: days, tier: tier), by: origin)
    }

    func wait(atMost limit: Duration? = nil) async throws {
        try await coordinator.wait(for: key, version: nil, until: limit.map { clock.now + $0 })
    }

    /// Lets time pass, from wakeup to wakeup, until the condition holds. A wakeup that is further away than `step` is
    /// not the next poll: that has yet to be scheduled.
    func passTime(_ step: Duration = .seconds(300), until condition: () async throws -> Bool) async rethrows -> Bool {
        try await eventually {
            if try await condition() { return true }
            if let next = clock.nextWakeup, next <= clock.now + step { clock.advance(by: next - clock.now) }
            return false
        }
    }

    var isUnderWay: Bool { get async { await coordinator.restore(of: key, version: nil) != nil } }

    func finishRestore() { store.change(key) { $0.restore = .restored(until: nil) } }
}

private func isCase(_ error: RestoreError?, _ expected: String) -> Bool {
    error.map { "\($0)".hasPrefix(expected) } ?? false
}

@Suite("restores")
struct CoordinatorTests {
    @Test("however many ask at once, one request is sent, and all get its answer")
    func onePost() async throws {
        let fixture = try Fixture()
        let gate = Gate()
        fixture.store.script { call throws(StoreError) in if case .restore = call { await gate.pass() } }
        let askers = (0..<20).map { _ in Task { try await fixture.request() } }
        #expect(await eventually { gate.waiting == 1 })
        #expect(try await fixture.writer.restores().map(\.state) == [.asking])
        gate.open()
        for asker in askers {
            let reply = try await asker.value
            #expect(reply == .started || reply == .alreadyInProgress)
        }
        #expect(fixture.store.orders == [RestoreOrder(days: 3, tier: .standard)])
        #expect(try await fixture.request() == .alreadyInProgress)
        #expect(fixture.store.orders.count == 1)
        #expect(await eventually { (try? await fixture.writer.restores().map(\.state)) == [.restoring] })
    }

    @Test("accepted or already under way, the restore is polled until the copy is there and everybody is woken",
        arguments: [RestoreReply.started, .alreadyInProgress])
    func polled(reply: RestoreReply) async throws {
        let fixture = try Fixture()
        fixture.store.replyToRestores(reply)
        #expect(try await fixture.request() == reply)
        fixture.store.change(key) { $0.restore = .ongoing }
        let waiters = (0..<5).map { _ in Task { try await fixture.wait() } }
        #expect(await fixture.passTime(.seconds(300)) { fixture.store.heads >= 5 })
        #expect(await fixture.isUnderWay)
        fixture.finishRestore()
        #expect(await fixture.passTime(.seconds(300)) { await !fixture.isUnderWay })
        for waiter in waiters { try await waiter.value }
        #expect(fixture.learned.headers.last == .restored(until: nil))
        #expect(await eventually { (try? await fixture.writer.restores().isEmpty) == true })
        #expect(fixture.store.orders.count == 1)
    }

    @Test("a copy that was there already needs no waiting: one HEAD learns until when")
    func alreadyRestored() async throws {
        let fixture = try Fixture()
        fixture.store.replyToRestores(.alreadyRestored)
        fixture.finishRestore()
        #expect(try await fixture.request() == .alreadyRestored)
        try await fixture.wait()
        #expect(fixture.store.heads == 1)
        #expect(await !fixture.isUnderWay)
        #expect(try await fixture.writer.restores().isEmpty)
    }

    @Test("Expedited without capacity falls back to the default tier, and that is what is remembered")
    func fallback() async throws {
        let fixture = try Fixture()
        fixture.store.script { call throws(StoreError) in
            guard case .restore(_, let order) = call, order.tier == .expedited else { return }
            throw StoreError(.tierUnavailable, status: 503, code: "GlacierExpeditedRetrievalNotAvailable", message: "")
        }
        #expect(try await fixture.request(tier: .expedited) == .started)
        #expect(fixture.store.orders.map(\.tier) == [.expedited, .standard])
        #expect(await fixture.coordinator.restore(of: key, version: nil)?.order.tier == .standard)
        #expect(try await fixture.writer.restores().map(\.order.tier) == [.standard])
    }

    @Test("a reader takes the restore that is under way as it is, whatever it would have asked for")
    func readersChangeNothing() async throws {
        let fixture = try Fixture()
        try await fixture.request(days: 1, tier: .bulk)
        #expect(try await fixture.request(days: 30, tier: .expedited, by: .reader) == .alreadyInProgress)
        #expect(fixture.store.orders.map(\.tier) == [.bulk])
        #expect(try await fixture.writer.restores().map(\.moreDays) == [nil])
    }

    @Test("more days wished for by name are kept while the restore is under way, on the disk")
    func moreDays() async throws {
        let fixture = try Fixture()
        try await fixture.request(days: 1, tier: .bulk)
        #expect(try await fixture.request(days: 30, tier: .bulk) == .alreadyInProgress)
        #expect(try await fixture.request(days: 7, tier: .bulk) == .alreadyInProgress)
        #expect(fixture.store.orders.count == 1)
        #expect(try await fixture.writer.restores().map(\.moreDays) == [30])
    }

    @Test("a faster tier that the provider has no capacity for leaves the restore as it is")
    func noCapacityToRaise() async throws {
        let fixture = try Fixture()
        try await fixture.request(tier: .bulk)
        fixture.store.script { call throws(StoreError) in
            guard case .restore(_, let order) = call, order.tier == .expedited else { return }
            throw StoreError(.tierUnavailable, status: 503, code: "GlacierExpeditedRetrievalNotAvailable", message: "")
        }
        #expect(try await fixture.request(tier: .expedited) == .alreadyInProgress)
        #expect(try await fixture.writer.restores().map(\.order.tier) == [.bulk])
    }

    @Test("a faster tier is sent while a slower restore is under way, a slower or equal one is not")
    func raised() async throws {
        let fixture = try Fixture()
        try await fixture.request(tier: .bulk)
        #expect(try await fixture.request(tier: .bulk) == .alreadyInProgress)
        #expect(try await fixture.request(tier: .expedited) == .started)
        #expect(try await fixture.request(tier: .standard) == .alreadyInProgress)
        #expect(fixture.store.orders.map(\.tier) == [.bulk, .expedited])
        #expect(try await fixture.writer.restores().map(\.order.tier) == [.expedited])
    }

    @Test("a refused request ends the restore, is forgotten, and says what the store said")
    func refused() async throws {
        let fixture = try Fixture()
        fixture.store.script { _ throws(StoreError) in
            throw StoreError(.denied, status: 403, code: "AccessDenied", message: "no", requestID: "r1")
        }
        let error = await #expect(throws: RestoreError.self) { try await fixture.request() }
        guard case .store(let cause) = error else {
            Issue.record("expected the store's error, not \(String(describing: error))")
            return
        }
        #expect(cause.requestID == "r1")
        #expect(await !fixture.isUnderWay)
        #expect(try await fixture.writer.restores().isEmpty)
        fixture.store.script { _ throws(StoreError) in }
        #expect(try await fixture.request() == .started)
    }

    @Test("an object that is not there to be restored is gone")
    func missing() async throws {
        let fixture = try Fixture()
        fixture.store.remove(key)
        let error = await #expect(throws: RestoreError.self) { try await fixture.request() }
        #expect(isCase(error, "gone"))
    }

    @Test("an object that is deleted while it is being restored ends the wait")
    func deleted() async throws {
        let fixture = try Fixture()
        try await fixture.request()
        let waiter = Task { try await fixture.wait() }
        fixture.store.remove(key)
        #expect(await fixture.passTime { await !fixture.isUnderWay })
        let error = await #expect(throws: RestoreError.self) { try await waiter.value }
        // A waiter that came after the end is told to look, and finds it gone.
        #expect(isCase(error, "gone"))
        #expect(fixture.learned.goneCount == 1)
    }

    @Test("a restore that the provider dropped is believed lost at the third look only")
    func lost() async throws {
        let fixture = try Fixture()
        try await fixture.request()
        let waiter = Task { try await fixture.wait(atMost: .seconds(100_000)) }
        #expect(await fixture.passTime { await !fixture.isUnderWay })
        let error = await #expect(throws: RestoreError.self) { try await waiter.value }
        #expect(isCase(error, "failed"))
        #expect(fixture.store.heads == 3)
        #expect(await eventually { (try? await fixture.writer.restores().isEmpty) == true })
    }

    @Test("a HEAD that fails is no end: it is asked again")
    func failingPoll() async throws {
        let fixture = try Fixture()
        try await fixture.request()
        fixture.store.script { _ throws(StoreError) in
            throw StoreError(.unavailable, status: 500, code: "InternalError", message: "")
        }
        #expect(await fixture.passTime(.seconds(300)) { fixture.store.heads >= 4 })
        #expect(await fixture.isUnderWay)
        fixture.store.script { _ throws(StoreError) in }
        fixture.finishRestore()
        #expect(await fixture.passTime(.seconds(300)) { await !fixture.isUnderWay })
    }

    @Test("a wait that runs out ends alone: the restore goes on")
    func timeout() async throws {
        let fixture = try Fixture()
        try await fixture.request()
        fixture.store.change(key) { $0.restore = .ongoing }
        let short = Task { try await fixture.wait(atMost: .seconds(10)) }
        let long = Task { try await fixture.wait() }
        let ended = Mutex<Bool>(false)
        async let end: Void = { _ = await short.result; ended.withLock { $0 = true } }()
        #expect(await fixture.passTime { ended.withLock { $0 } })
        await end
        let error = await #expect(throws: RestoreError.self) { try await short.value }
        #expect(isCase(error, "timedOut"))
        #expect(await fixture.isUnderWay)
        fixture.finishRestore()
        #expect(await fixture.passTime(.seconds(300)) { await !fixture.isUnderWay })
        try await long.value
    }

    @Test("a cancelled wait ends at once, and the others go on")
    func cancellation() async throws {
        let fixture = try Fixture()
        try await fixture.request()
        fixture.store.change(key) { $0.restore = .ongoing }
        let impatient = Task { try await fixture.wait() }
        let patient = Task { try await fixture.wait() }
        impatient.cancel()
        let error = await #expect(throws: RestoreError.self) { try await impatient.value }
        #expect(isCase(error, "interrupted"))
        fixture.finishRestore()
        #expect(await fixture.passTime(.seconds(300)) { await !fixture.isUnderWay })
        try await patient.value
    }

    @Test("who is interrupted while the request is on its way returns at once; it is sent all the same")
    func interruptedAsking() async throws {
        let fixture = try Fixture()
        let gate = Gate()
        fixture.store.script { call throws(StoreError) in if case .restore = call { await gate.pass() } }
        let impatient = Task { try await fixture.request() }
        #expect(await eventually { gate.waiting == 1 })
        let patient = Task { try await fixture.request() }
        impatient.cancel()
        let error = await #expect(throws: RestoreError.self) { try await impatient.value }
        #expect(isCase(error, "interrupted"))
        #expect(gate.waiting == 1)
        gate.open()
        let reply = try await patient.value
        #expect(reply == .started || reply == .alreadyInProgress)
        #expect(fixture.store.orders.count == 1)
        #expect(await fixture.isUnderWay)
    }

    @Test("waiting for what is not being restored returns at once")
    func nothingUnderWay() async throws {
        let fixture = try Fixture()
        try await fixture.wait()
        #expect(fixture.store.calls.isEmpty)
    }

    @Test("after a restart a request that may not have been sent is sent, and one that was is only polled",
        arguments: [RestoreRow.State.asking, .restoring])
    func resume(state: RestoreRow.State) async throws {
        let fixture = try Fixture()
        let row = RestoreRow(
            key: key, version: nil, state: state, storageClass: StorageClass("ColdArchive"),
            order: RestoreOrder(days: 5, tier: .bulk), requestedAt: Timestamp(seconds: 1_700_000_000))
        try await fixture.writer.put(row, durably: true)
        fixture.store.change(key) { $0.restore = .ongoing }
        try await fixture.coordinator.resume()
        #expect(await fixture.isUnderWay)
        #expect(await fixture.passTime { fixture.store.heads >= 1 })
        #expect(fixture.store.orders == (state == .asking ? [row.order] : []))
        #expect(await fixture.coordinator.restore(of: key, version: nil)?.requestedAt == row.requestedAt)
        fixture.finishRestore()
        #expect(await fixture.passTime(.seconds(300)) { await !fixture.isUnderWay })
        #expect(await eventually { (try? await fixture.writer.restores().isEmpty) == true })
    }

    @Test("a restore that a reader asked for before the resume keeps its waiters")
    func resumeAfterReader() async throws {
        let fixture = try Fixture()
        try await fixture.request()
        fixture.store.change(key) { $0.restore = .ongoing }
        let waiter = Task { try await fixture.wait() }
        #expect(await fixture.passTime { fixture.store.heads >= 2 })
        try await fixture.coordinator.resume()
        fixture.finishRestore()
        #expect(await fixture.passTime(.seconds(300)) { await !fixture.isUnderWay })
        try await waiter.value
        #expect(fixture.store.orders.count == 1)
    }
}
