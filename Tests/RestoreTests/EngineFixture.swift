import Glibc
import Logging
import Metadata
import ObjectStore
import Synchronization
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Restore

/// An engine over a fake store and time that the test moves. A crash leaves the store and the time as they are.
struct EngineFixture {
    let directory: TemporaryDirectory
    let store: FakeStore
    let archive: FakeArchive
    let clock: FakeTime
    let line: Line
    let writer: MetadataWriter
    let reader: MetadataReader
    let readerThread: ThreadExecutor
    let engine: RestoreEngine
    let learned: Learned
    private let settings: RestoreEngine.Settings

    final class Learned: Sendable {
        private let records = Mutex<[ObjectRecord?]>([])
        var headers: [RestoreHeader?] { records.withLock { $0.compactMap { $0 }.map(\.restore) } }
        var goneCount: Int { records.withLock { $0.count { $0 == nil } } }
        func note(_ record: ObjectRecord?) { records.withLock { $0.append(record) } }
    }

    init(_ dialect: Dialect = .oss, _ configure: (inout RestoreEngine.Settings) -> Void = { _ in }) throws {
        var settings = RestoreEngine.Settings()
        configure(&settings)
        let (store, clock) = (FakeStore(dialect), FakeTime())
        try self.init(TemporaryDirectory(), store, FakeArchive(store, clock), clock, settings)
    }

    private init(
        _ directory: TemporaryDirectory, _ store: FakeStore, _ archive: FakeArchive, _ clock: FakeTime,
        _ settings: RestoreEngine.Settings
    ) throws {
        (self.directory, self.store, self.archive) = (directory, store, archive)
        (self.clock, self.settings) = (clock, settings)
        line = Line(store)
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let path = directory.path + "/db"
        writer = try MetadataWriter(path: path, executor: try ThreadExecutor(name: "db-writer"), log: quiet)
        readerThread = try ThreadExecutor(name: "db-reader")
        reader = MetadataReader(path: path, executor: readerThread)
        learned = Learned()
        engine = RestoreEngine(
            store: line, context: ArchiveContext(dialect: store.dialect, hasDirectRead: false), writer: writer,
            reader: reader, settings: settings, log: quiet, clock: clock.clock
        ) { [learned] news in for (_, _, record) in news { learned.note(record) } }
    }

    /// The daemon is killed, and another starts over what it left on the disk.
    func afterCrash() async throws -> EngineFixture {
        await settle()
        line.cut()
        let copy = try TemporaryDirectory()
        for suffix in ["", "-wal"] { try duplicate(directory.path + "/db" + suffix, copy.path + "/db" + suffix) }
        return try EngineFixture(copy, store, archive, clock, settings)
    }

    // MARK: Objects

    /// Makes objects `dir/0000000`, ... and answers their keys.
    @discardableResult
    func put(
        _ count: Int, class name: String = "ColdArchive", below prefix: String = "dir/", bytes: UInt64 = 1
    ) -> [ObjectKey] {
        (0..<count).map { index in
            let key = ObjectKey(prefix + String(String(10_000_000 + index).dropFirst()))
            store.put(key, class: name)
            store.change(key) { $0.sizeBytes = bytes }
            return key
        }
    }

    func target(_ key: ObjectKey, version: String? = nil) throws -> RestoreTarget {
        let record = try #require(store.record(key, version: version))
        let rules = record.storageClass.archiveRules(store.dialect) ?? .unknown
        return RestoreTarget(key: key, version: version, record: record, rules: rules)
    }

    // MARK: Asking

    @discardableResult
    func ask(
        _ key: ObjectKey, version: String? = nil, days: Int? = 3, tier: RestoreTier? = .standard,
        by origin: RestoreOrigin = .command, until patience: RestorePatience = .submission
    ) async throws -> RestoreAnswer {
        let target = try target(key, version: version)
        let order = RestoreOrder(days: days, tier: target.rules.tiers.isEmpty ? nil : tier)
        return try await engine.obtain(target, order, for: Requester(origin, "a test"), until: patience)
    }

    /// A read of the object, which waits for it.
    func read(_ key: ObjectKey, atMost limit: Duration? = nil) -> Task<RestoreAnswer, any Error> {
        Task { try await ask(key, by: .reader, until: .copy(until: limit.map { clock.now + $0 })) }
    }

    func row(_ key: ObjectKey) async throws -> RestoreRow? { try await reader.restore(of: key, version: nil) }

    func request(_ id: Int64) async throws -> RequestSummary { try #require(try await engine.request(id)) }

    // MARK: Time

    /// Lets everything that needs no time come to its end. The engine's threads may be late, most of all while it has
    /// something to do: nothing must change for a while.
    func settle() async {
        var seen = await signature()
        var (rounds, since) = (0, ContinuousClock.now)
        while true {
            _ = try? await writer.nextDue()
            await Task.yield()
            let now = await signature()
            if now != seen { (seen, rounds, since) = (now, 0, .now) }
            rounds += 1
            let isBusy = await engine.isBusy(now.wakeup.map { $0 - clock.now } ?? .zero)
            if rounds >= 12, ContinuousClock.now - since >= .milliseconds(isBusy ? 60 : 3) { return }
        }
    }

    private struct Signature: Equatable {
        let calls: Int
        let wakeup: ContinuousClock.Instant?
        let waiters: Int
    }

    private func signature() async -> Signature {
        Signature(
            calls: store.calls.count, wakeup: clock.manual.nextWakeup, waiters: await engine.whoWaits().count)
    }

    /// Lets time pass, from wakeup to wakeup, until the condition holds; false after this long.
    func passTime(
        atMost limit: Duration = .seconds(86400), until condition: () async throws -> Bool
    ) async rethrows -> Bool {
        let end = clock.now + limit
        let hang = ContinuousClock.now + .seconds(120)
        while ContinuousClock.now < hang {
            await settle()
            if try await condition() { return true }
            guard let next = clock.manual.nextWakeup else {
                await Task.yield()
                continue
            }
            guard next <= end else { return false }
            clock.manual.advance(by: max(next - clock.now, .zero))
        }
        return false
    }

    /// Lets so much time pass.
    func pass(_ duration: Duration) async {
        let end = clock.now + duration
        await settle()
        while let next = clock.manual.nextWakeup, next <= end {
            clock.manual.advance(by: max(next - clock.now, .zero))
            await settle()
        }
        clock.manual.advance(by: end - clock.now)
        await settle()
    }
}

extension RestoreEngine {
    /// Whether something goes on that needs no time, or a lane is at work and not asleep.
    fileprivate func isBusy(_ rest: Duration) -> Bool {
        if isFlushing || isLooking || !outbox.isEmpty || !collectors.isEmpty { return true }
        return lanes.values.contains { $0.underWay > 0 || $0.isRunning && rest > .seconds(2) }
    }
}

/// Keeps a thread busy until it is released.
actor ThreadHolder {
    private let thread: ThreadExecutor
    private let release: Wakeup

    init(_ thread: ThreadExecutor) throws { (self.thread, release) = (thread, try Wakeup()) }

    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    func hold(_ isHeld: Gate) {
        isHeld.open()
        release.wait()
    }

    nonisolated func end() { release.signal() }
}

/// Time that passes when it is told to, and the date along with it.
final class FakeTime: Sendable {
    let manual = ManualClock()
    private let start: ContinuousClock.Instant

    init() { start = manual.now }

    var now: ContinuousClock.Instant { manual.now }
    var date: Timestamp { Timestamp(seconds: 1_800_000_000) + (now - start) }
    var elapsed: Duration { now - start }
    var clock: RestoreClock {
        RestoreClock(now: { self.now }, date: { self.date }, sleep: manual.sleep)
    }
}

/// Restores the fake store's objects: each takes its time, and its copy lasts as long as was asked.
final class FakeArchive: Sendable {
    private struct State {
        var takes: Duration?
        var daysMax = 365
        var underWay: [ObjectKey: (readyAt: ContinuousClock.Instant, days: Int?)] = [:]
        var submissions: [(key: ObjectKey, time: Duration)] = []
    }

    private let state = Mutex<State>(State())
    private let store: FakeStore
    private let clock: FakeTime

    init(_ store: FakeStore, _ clock: FakeTime) {
        (self.store, self.clock) = (store, clock)
        store.provide { [self] key, record, order in take(key, &record, order) }
        store.script { [self] _ throws(StoreError) in finish() }
    }

    /// How long restores take; nil: they do not end.
    var takes: Duration? {
        get { state.withLock { $0.takes } }
        set { state.withLock { $0.takes = newValue } }
    }

    /// No copy lasts longer than this from now.
    var daysMax: Int {
        get { state.withLock { $0.daysMax } }
        set { state.withLock { $0.daysMax = newValue } }
    }

    /// The requests that were taken, and when.
    var submissions: [(key: ObjectKey, time: Duration)] { state.withLock { $0.submissions } }

    private func take(_ key: ObjectKey, _ record: inout ObjectRecord, _ order: RestoreOrder) -> RestoreReply {
        state.withLock { state in
            state.submissions.append((key, clock.elapsed))
            switch record.restore {
            case .ongoing: return .alreadyInProgress
            case .restored(let until):
                let days = min(order.days ?? 1, state.daysMax)
                record.restore = .restored(until: max(until ?? .epoch, clock.date + .seconds(days * 86400)))
                return .alreadyRestored
            case nil:
                record.restore = .ongoing
                let ready = clock.now + (state.takes ?? .seconds(1_000_000_000))
                state.underWay[key] = (ready, order.days)
                return .started
            }
        }
    }

    /// Ends what is over by now.
    func finish() {
        let ready = state.withLock { state in
            let ready = state.underWay.filter { $0.value.readyAt <= clock.now }
            for key in ready.keys { state.underWay[key] = nil }
            return ready
        }
        for (key, work) in ready {
            let until = clock.date - (clock.now - work.readyAt) + .seconds((work.days ?? 1) * 86400)
            store.change(key) { $0.restore = .restored(until: until) }
        }
    }

    func finish(_ key: ObjectKey, until: Timestamp? = nil) {
        state.withLock { $0.underWay[key] = nil }
        store.change(key) { $0.restore = .restored(until: until) }
    }
}

/// An engine's way to the store, which ends with the engine.
final class Line: StoreFront {
    enum Hold: Sendable { case requests, replies }

    let store: FakeStore
    private let limbo = Gate()
    private let isCut = Mutex(false)
    private let held = Mutex<Hold?>(nil)

    init(_ store: FakeStore) { self.store = store }

    /// Nothing goes through any more.
    func cut() { isCut.withLock { $0 = true } }

    /// Restore requests do not arrive from here on, or their replies do not.
    func hold(_ hold: Hold) { held.withLock { $0 = hold } }

    /// Restore requests that are on their way, or whose replies are.
    var heldCount: Int { limbo.waiting }

    private func pass() async { if isCut.withLock({ $0 }) { await limbo.pass() } }

    func list(_ request: ListRequest) async throws(StoreError) -> ListPage {
        await pass()
        return try await store.list(request)
    }

    func head(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectRecord {
        await pass()
        return try await store.head(key, version: version)
    }

    func restore(_ key: ObjectKey, version: String?, _ order: RestoreOrder) async throws(StoreError) -> RestoreReply {
        await pass()
        if held.withLock({ $0 }) == .requests { await limbo.pass() }
        let reply = try await store.restore(key, version: version, order)
        if held.withLock({ $0 }) == .replies { await limbo.pass() }
        return reply
    }
}

private func duplicate(_ source: String, _ destination: String) throws {
    let input = open(source, O_RDONLY)
    guard input >= 0 else { return }
    defer { close(input) }
    let output = open(destination, O_WRONLY | O_CREAT, 0o600)
    try #require(output >= 0)
    defer { close(output) }
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = Glibc.read(input, &buffer, buffer.count), count > 0 {
        #expect(write(output, buffer, count) == count)
    }
}

func isCase(_ error: RestoreError?, _ expected: String) -> Bool {
    error.map { "\($0)".hasPrefix(expected) } ?? false
}
