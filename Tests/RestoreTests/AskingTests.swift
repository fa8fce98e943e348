import Metadata
import ObjectStore
import Synchronization
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Restore

private let key = ObjectKey("dir/file")

private func noCapacity(_ call: FakeStore.Call) throws(StoreError) {
    guard case .restore(_, let order) = call, order.tier == .expedited else { return }
    throw StoreError(.tierUnavailable, status: 503, code: "GlacierExpeditedRetrievalNotAvailable", message: "")
}

@Suite("asking for one object")
struct AskingTests {
    private func fixture(_ dialect: Dialect = .oss, class name: String = "ColdArchive") throws -> EngineFixture {
        let fixture = try EngineFixture(dialect)
        fixture.store.put(key, [1], class: name)
        return fixture
    }

    @Test("however many ask at once, one request is sent, and all get its answer")
    func onePost() async throws {
        let fixture = try fixture()
        let gate = Gate()
        fixture.store.script { call throws(StoreError) in if case .restore = call { await gate.pass() } }
        let askers = (0..<20).map { index in
            Task { try await fixture.ask(key, by: index % 2 == 0 ? .reader : .command) }
        }
        #expect(await eventually { gate.waiting == 1 })
        #expect(try await fixture.row(key)?.state == .asking)
        gate.open()
        for asker in askers { #expect(try await asker.value == .underWay) }
        #expect(fixture.store.orders == [RestoreOrder(days: 3, tier: .standard)])
        #expect(try await fixture.ask(key) == .underWay)
        #expect(fixture.store.orders.count == 1)
        #expect(try await fixture.row(key)?.state == .restoring)
    }

    @Test("two hundred readers of one object make one request of one wish, and are all woken")
    func manyReaders() async throws {
        let fixture = try fixture()
        fixture.archive.takes = .seconds(3 * 3600)
        let readers = (0..<200).map { _ in fixture.read(key) }
        #expect(await fixture.passTime { fixture.store.orders.count == 1 })
        #expect(try await fixture.engine.requests().count == 1)
        #expect(try await fixture.passTime { try await fixture.row(key) == nil })
        for reader in readers { #expect(try await reader.value == .readable) }
        #expect(fixture.store.orders.count == 1)
    }

    @Test("accepted or already under way, the object is looked at until the copy is there, and everybody is woken",
        arguments: [RestoreReply.started, .alreadyInProgress])
    func polled(reply: RestoreReply) async throws {
        let fixture = try fixture()
        fixture.store.replyToRestores(reply)
        #expect(try await fixture.ask(key) == .underWay)
        fixture.store.change(key) { $0.restore = .ongoing }
        let waiters = (0..<5).map { _ in fixture.read(key) }
        #expect(await fixture.passTime { fixture.store.heads >= 5 })
        #expect(try await fixture.engine.pendingRestore(of: key, version: nil) != nil)
        fixture.archive.finish(key)
        for waiter in waiters {
            #expect(await fixture.passTime { await fixture.engine.whoWaits().isEmpty })
            #expect(try await waiter.value == .readable)
        }
        #expect(fixture.learned.headers.last == .restored(until: nil))
        #expect(try await fixture.row(key) == nil)
        #expect(fixture.store.orders.count == 1)
    }

    @Test("a copy that was there already needs no waiting: one HEAD learns until when it lasts")
    func alreadyRestored() async throws {
        let fixture = try fixture()
        fixture.archive.finish(key, until: fixture.clock.date + .seconds(600))
        #expect(try await fixture.ask(key) == .readable)
        #expect(fixture.store.heads == 1)
        #expect(fixture.learned.headers == [.restored(until: fixture.clock.date + .seconds(3 * 86400))])
        #expect(try await fixture.row(key) == nil)
    }

    @Test("a store that says restored and shows no copy is not asked for ever")
    func restoredWithoutCopy() async throws {
        let fixture = try fixture()
        fixture.store.replyToRestores(.alreadyRestored, .alreadyRestored, .alreadyRestored, .alreadyRestored)
        let reader = fixture.read(key)
        #expect(await fixture.passTime { await fixture.engine.whoWaits().isEmpty && !fixture.store.orders.isEmpty })
        let error = await #expect(throws: RestoreError.self) { try await reader.value }
        #expect(isCase(error, "failed"))
        #expect(fixture.store.orders.count == 1)
    }

    @Test("Expedited without capacity falls back to the default tier, and that is what is remembered")
    func fallback() async throws {
        let fixture = try fixture()
        fixture.store.script { call throws(StoreError) in try noCapacity(call) }
        #expect(try await fixture.ask(key, tier: .expedited) == .underWay)
        #expect(fixture.store.orders.map(\.tier) == [.expedited, .standard])
        #expect(try await fixture.row(key)?.order.tier == .standard)
    }

    @Test("a faster tier is sent while a slower restore is under way, a slower or equal one is not")
    func raised() async throws {
        let fixture = try fixture()
        for tier in [RestoreTier.bulk, .bulk, .expedited, .standard] {
            #expect(try await fixture.ask(key, tier: tier) == .underWay)
        }
        #expect(fixture.store.orders.map(\.tier) == [.bulk, .expedited])
        let row = try #require(try await fixture.row(key))
        #expect(row.order.tier == .expedited && row.slowTier == nil && row.state == .restoring)
    }

    @Test("a faster tier that the provider has no capacity for leaves the restore as it is")
    func noCapacityToRaise() async throws {
        let fixture = try fixture()
        try await fixture.ask(key, tier: .bulk)
        fixture.store.script { call throws(StoreError) in try noCapacity(call) }
        #expect(try await fixture.ask(key, tier: .expedited) == .underWay)
        let row = try #require(try await fixture.row(key))
        #expect(row.order.tier == .bulk && row.state == .restoring && row.slowTier == nil)
    }

    @Test("a faster tier that is refused for good, or time and again, leaves the restore as it is, and who waits waiting",
        arguments: [StoreError.Kind.invalidRequest, .unavailable, .notArchived])
    func raiseRefused(kind: StoreError.Kind) async throws {
        let fixture = try fixture()
        try await fixture.ask(key, tier: .bulk)
        let reader = fixture.read(key)
        #expect(await eventually { await fixture.engine.whoWaits().count == 1 })
        fixture.store.script { call throws(StoreError) in
            guard case .restore = call else { return }
            throw StoreError(kind, status: 400, code: "Refused", message: "")
        }
        let asker = Task { try await fixture.ask(key, tier: .expedited) }
        #expect(try await fixture.passTime(atMost: .seconds(20)) {
            guard let row = try await fixture.row(key), fixture.store.orders.count > 1 else { return false }
            return row.state == .restoring && row.order.tier == .bulk && row.slowTier == nil && row.strikes == 0
        })
        #expect(try await asker.value == .underWay)
        fixture.archive.finish(key)
        #expect(await fixture.passTime(atMost: .seconds(3600)) { await fixture.engine.whoWaits().isEmpty })
        reader.cancel()
        #expect(try await reader.value == .readable)
    }

    @Test("a faster tier retrieves nothing more: a day's bytes that are used up do not hold it up")
    func raisedBeyondBytes() async throws {
        let fixture = try EngineFixture()
        let keys = fixture.put(2, bytes: 50_000_000_000_000)
        for key in keys { try await fixture.ask(key, tier: .bulk) }
        #expect(await fixture.engine.laneSummaries().first?.bytesToday == 100_000_000_000_000)
        let asker = Task { try await fixture.ask(keys[0], tier: .expedited) }
        await fixture.pass(.seconds(60))
        #expect(try await asker.value == .underWay)
        #expect(fixture.store.orders.map(\.tier) == [.bulk, .bulk, .expedited])
    }

    @Test("what waits to be asked for with a faster tier is looked at, and at once for who comes to read it")
    func raisedLater() async throws {
        let fixture = try fixture()
        let other = ObjectKey("dir/other")
        fixture.store.put(other, class: "ColdArchive")
        for key in [key, other] { try await fixture.ask(key, tier: .bulk) }
        fixture.store.script { call throws(StoreError) in
            guard case .restore = call else { return }
            throw StoreError(.throttled, status: 503, code: "SlowDown", message: "", retryAfter: .seconds(80_000))
        }
        let reader = fixture.read(key)
        let askers = [key, other].map { key in Task { try await fixture.ask(key, tier: .expedited) } }
        await fixture.pass(.seconds(60))
        for asker in askers { #expect(try await asker.value == .underWay) }
        for key in [key, other] { #expect(try await fixture.row(key)?.state == .queued) }
        fixture.archive.finish(key)
        #expect(await fixture.passTime(atMost: .seconds(2 * 3600)) { await fixture.engine.whoWaits().isEmpty })
        reader.cancel()
        #expect(try await reader.value == .readable)
        fixture.archive.finish(other)
        let late = fixture.read(other)
        #expect(await eventually { await fixture.engine.whoWaits().count == 1 })
        #expect(await fixture.passTime(atMost: .seconds(5)) { await fixture.engine.whoWaits().isEmpty })
        late.cancel()
        #expect(try await late.value == .readable)
    }

    @Test("a faster tier wished for while the request is on its way is asked for after it")
    func raisedWhileAsking() async throws {
        let fixture = try fixture()
        let gate = Gate()
        fixture.store.script { call throws(StoreError) in if case .restore = call { await gate.pass() } }
        let first = Task { try await fixture.ask(key, tier: .bulk) }
        #expect(await eventually { gate.waiting == 1 })
        let second = Task { try await fixture.ask(key, tier: .expedited) }
        let third = Task { try await fixture.ask(key, days: 9, tier: .bulk) }
        #expect(try await eventually { try await fixture.row(key)?.moreDays == 9 })
        gate.open()
        for asker in [first, second, third] { #expect(try await asker.value == .underWay) }
        await fixture.settle()
        #expect(fixture.store.orders.map(\.tier) == [.bulk, .expedited])
    }

    @Test("a reader takes the restore that is under way as it is, whatever it would have asked for")
    func readersChangeNothing() async throws {
        let fixture = try fixture()
        try await fixture.ask(key, days: 1, tier: .bulk)
        #expect(try await fixture.ask(key, days: 30, tier: .expedited, by: .reader) == .underWay)
        #expect(fixture.store.orders.map(\.tier) == [.bulk])
        #expect(try await fixture.row(key)?.moreDays == nil)
    }

    @Test("more days wished for by name are kept while the restore is under way, and asked for when it is over")
    func moreDays() async throws {
        let fixture = try fixture()
        fixture.archive.takes = .seconds(3600)
        for days in [1, 30, 7] { #expect(try await fixture.ask(key, days: days, tier: .bulk) == .underWay) }
        #expect(try await fixture.row(key)?.moreDays == 30)
        #expect(fixture.store.orders.map(\.days) == [1])
        #expect(try await fixture.passTime { try await fixture.row(key) == nil })
        #expect(fixture.store.orders.map(\.days) == [1, 30])
        guard case .restored(let until?) = fixture.store.record(key)?.restore else {
            Issue.record("not restored")
            return
        }
        #expect(until > fixture.clock.date + .seconds(29 * 86400))
    }

    @Test("a refused request says what the store said, ends there, and may be made again")
    func refused() async throws {
        let fixture = try fixture()
        fixture.store.script { _ throws(StoreError) in
            throw StoreError(.denied, status: 403, code: "AccessDenied", message: "no", requestID: "r1")
        }
        let error = await #expect(throws: RestoreError.self) { try await fixture.ask(key) }
        guard case .store(let cause) = error else {
            Issue.record("expected the store's error, not \(String(describing: error))")
            return
        }
        #expect(cause.requestID == "r1" && fixture.store.orders.count == 1)
        #expect(try await fixture.row(key)?.state == .failed)
        let request = try #require(try await fixture.engine.requests().first)
        #expect(request.tallies[.failed]?.objects == 1 && request.finishedAt != nil)
        #expect(request.error?.contains("AccessDenied") == true)
        fixture.store.script { _ throws(StoreError) in }
        #expect(try await fixture.ask(key) == .underWay)
    }

    @Test("an object that is not there to be restored is gone")
    func missing() async throws {
        let fixture = try fixture()
        let target = try fixture.target(key)
        fixture.store.remove(key)
        let error = await #expect(throws: RestoreError.self) {
            try await fixture.engine.obtain(
                target, RestoreOrder(days: 3, tier: .bulk), for: Requester(.reader, ""), until: .submission)
        }
        #expect(isCase(error, "gone") && fixture.learned.goneCount == 1)
    }

    @Test("an object that needs no restore after all is readable for a reader, and a refusal for a command",
        arguments: [RestoreOrigin.reader, .command])
    func needless(origin: RestoreOrigin) async throws {
        let fixture = try fixture()
        fixture.store.script { [store = fixture.store] call throws(StoreError) in
            guard case .restore = call else { return }
            store.change(key) { $0.storageClass = StorageClass("Standard") }
            throw StoreError(.notArchived, status: 400, code: "OperationNotSupported", message: "")
        }
        if origin == .reader {
            #expect(try await fixture.ask(key, by: origin) == .readable)
        } else {
            let error = await #expect(throws: RestoreError.self) { try await fixture.ask(key) }
            #expect(isCase(error, "store"))
        }
        #expect(fixture.learned.headers.count == 1)
    }

    @Test("a store that cannot be reached is asked again, for one object five times")
    func unreachable() async throws {
        let fixture = try fixture()
        let failures = Mutex(4)
        fixture.store.script { call throws(StoreError) in
            guard case .restore = call else { return }
            let fails = failures.withLock { left in
                left -= 1
                return left >= 0
            }
            if fails { throw StoreError(.unavailable, status: 500, code: "InternalError", message: "") }
        }
        let asker = Task { try await fixture.ask(key) }
        #expect(try await fixture.passTime(atMost: .seconds(20)) { try await fixture.row(key)?.state == .restoring })
        #expect(try await asker.value == .underWay)
        #expect(fixture.store.orders.count == 5)
        let other = ObjectKey("dir/other")
        fixture.store.put(other, class: "ColdArchive")
        failures.withLock { $0 = 1000 }
        let hopeless = fixture.read(other)
        #expect(try await fixture.passTime(atMost: .seconds(20)) { try await fixture.row(other)?.state == .failed })
        let error = await #expect(throws: RestoreError.self) { try await hopeless.value }
        #expect(isCase(error, "store") && fixture.store.orders.count == 10)
    }

    @Test("one request that does not come back holds up no other of its lane")
    func stuck() async throws {
        let fixture = try fixture()
        let gate = Gate()
        fixture.store.script { call throws(StoreError) in
            if case .restore(key, _) = call { await gate.pass() }
        }
        let stuck = Task { try await fixture.ask(key) }
        #expect(await eventually { gate.waiting == 1 })
        let other = ObjectKey("dir/other")
        fixture.store.put(other, class: "ColdArchive")
        #expect(try await fixture.ask(other) == .underWay)
        gate.open()
        #expect(try await stuck.value == .underWay)
    }

    @Test("versions of one object are asked for and looked at each for itself")
    func versions() async throws {
        let fixture = try EngineFixture(.s3)
        fixture.store.keepVersions()
        fixture.store.put(key, class: "GLACIER")
        fixture.store.put(key, class: "GLACIER")
        #expect(try await fixture.ask(key, version: "v1") == .underWay)
        #expect(try await fixture.ask(key) == .underWay)
        #expect(fixture.store.restoredVersions == ["v1", nil])
        let old = Task { try await fixture.ask(key, version: "v1", by: .reader, until: .copy(until: nil)) }
        fixture.store.change(key, version: "v1") { $0.restore = .restored(until: nil) }
        #expect(await fixture.passTime { await fixture.engine.whoWaits().isEmpty && fixture.store.heads > 0 })
        #expect(try await old.value == .readable)
        #expect(try await fixture.row(key)?.state == .restoring)
    }
}
