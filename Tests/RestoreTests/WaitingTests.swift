import Database
import Metadata
import ObjectStore
import Synchronization
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Restore

private let key = ObjectKey("dir/file")

@Suite("waiting for a copy")
struct WaitingTests {
    private func fixture() throws -> EngineFixture {
        let fixture = try EngineFixture()
        fixture.store.put(key, [1], class: "ColdArchive")
        return fixture
    }

    private func waiting(_ fixture: EngineFixture, _ count: Int) async -> Bool {
        await eventually { await fixture.engine.whoWaits().count == count }
    }

    @Test("an object that is deleted while it is being restored ends the wait")
    func deleted() async throws {
        let fixture = try fixture()
        try await fixture.ask(key)
        let waiter = fixture.read(key)
        #expect(await waiting(fixture, 1))
        fixture.store.remove(key)
        #expect(await fixture.passTime { await fixture.engine.whoWaits().isEmpty })
        let error = await #expect(throws: RestoreError.self) { try await waiter.value }
        #expect(isCase(error, "gone") && fixture.learned.goneCount == 1)
        #expect(try await fixture.row(key)?.state == .failed)
    }

    @Test("a restore that the provider dropped is believed lost at the third look only, and may be asked for again")
    func lost() async throws {
        let fixture = try fixture()
        try await fixture.ask(key)
        fixture.store.change(key) { $0.restore = nil }
        let waiter = fixture.read(key)
        #expect(await waiting(fixture, 1))
        #expect(await fixture.passTime { await fixture.engine.whoWaits().isEmpty })
        let error = await #expect(throws: RestoreError.self) { try await waiter.value }
        #expect(isCase(error, "failed") && fixture.store.heads == 3)
        #expect(try await fixture.ask(key) == .underWay)
        #expect(fixture.store.orders.count == 2)
    }

    @Test("a store that is late to show the restore loses it nothing")
    func inconsistent() async throws {
        let fixture = try fixture()
        try await fixture.ask(key)
        for _ in 0..<4 {
            let heads = fixture.store.heads
            fixture.store.change(key) { $0.restore = nil }
            await fixture.engine.hasten(key, version: nil)
            #expect(await fixture.passTime { fixture.store.heads > heads })
            fixture.store.change(key) { $0.restore = .ongoing }
            #expect(await fixture.passTime { fixture.store.heads > heads + 1 })
        }
        #expect(try await fixture.row(key)?.state == .restoring)
    }

    @Test("a look that fails is no end: it is had again")
    func failingLook() async throws {
        let fixture = try fixture()
        try await fixture.ask(key)
        fixture.store.script { _ throws(StoreError) in
            throw StoreError(.unavailable, status: 500, code: "InternalError", message: "")
        }
        #expect(await fixture.passTime { fixture.store.heads >= 4 })
        #expect(try await fixture.row(key)?.state == .restoring)
        fixture.store.script { _ throws(StoreError) in }
        fixture.archive.finish(key)
        #expect(try await fixture.passTime { try await fixture.row(key) == nil })
    }

    @Test("a wait that runs out ends alone, at its time: the restore goes on")
    func timeout() async throws {
        let fixture = try fixture()
        try await fixture.ask(key)
        let (short, long) = (fixture.read(key, atMost: .seconds(300)), fixture.read(key))
        #expect(await waiting(fixture, 2))
        let before = fixture.clock.elapsed
        #expect(await fixture.passTime { await fixture.engine.whoWaits().count == 1 })
        #expect(fixture.clock.elapsed - before == .seconds(300))
        let error = await #expect(throws: RestoreError.self) { try await short.value }
        #expect(isCase(error, "timedOut"))
        fixture.archive.finish(key)
        #expect(await fixture.passTime { await fixture.engine.whoWaits().isEmpty })
        #expect(try await long.value == .readable)
    }

    @Test("an interrupted wait ends at once, and the others go on")
    func interrupted() async throws {
        let fixture = try fixture()
        try await fixture.ask(key)
        let (impatient, patient) = (fixture.read(key), fixture.read(key))
        #expect(await waiting(fixture, 2))
        impatient.cancel()
        let error = await #expect(throws: RestoreError.self) { try await impatient.value }
        #expect(isCase(error, "interrupted"))
        #expect(await fixture.engine.whoWaits().count == 1)
        fixture.archive.finish(key)
        #expect(await fixture.passTime { await fixture.engine.whoWaits().isEmpty })
        #expect(try await patient.value == .readable)
    }

    @Test("who is interrupted while the request is on its way returns at once; it is sent all the same")
    func interruptedAsking() async throws {
        let fixture = try fixture()
        let gate = Gate()
        fixture.store.script { call throws(StoreError) in if case .restore = call { await gate.pass() } }
        let impatient = Task { try await fixture.ask(key) }
        #expect(await eventually { gate.waiting == 1 })
        let patient = Task { try await fixture.ask(key) }
        impatient.cancel()
        let error = await #expect(throws: RestoreError.self) { try await impatient.value }
        #expect(isCase(error, "interrupted") && gate.waiting == 1)
        gate.open()
        #expect(try await patient.value == .underWay)
        #expect(fixture.store.orders.count == 1)
    }

    @Test("a request that does not come back is under way for who only asks, after half a minute")
    func heldUp() async throws {
        let fixture = try fixture()
        fixture.line.hold(.requests)
        let asker = Task { try await fixture.ask(key) }
        #expect(await fixture.passTime { fixture.line.heldCount == 1 })
        #expect(await fixture.passTime { fixture.clock.elapsed >= .seconds(30) })
        #expect(try await asker.value == .underWay)
        #expect(fixture.clock.elapsed == .seconds(30))
    }

    @Test("a request that the store is too busy for is under way at once: it is queued and goes through")
    func busy() async throws {
        let fixture = try fixture()
        fixture.store.script { call throws(StoreError) in
            guard case .restore = call else { return }
            throw StoreError(.throttled, status: 503, code: "SlowDown", message: "", retryAfter: .seconds(3600))
        }
        #expect(try await fixture.ask(key) == .underWay)
        #expect(try await fixture.row(key)?.state == .queued)
        fixture.store.script { _ throws(StoreError) in }
        #expect(try await fixture.passTime { try await fixture.row(key)?.state == .restoring })
    }

    @Test("who comes to read is a reason to look at once")
    func hastened() async throws {
        let fixture = try fixture()
        try await fixture.ask(key, tier: .bulk)
        await fixture.pass(.seconds(60))
        fixture.archive.finish(key)
        let before = fixture.clock.elapsed
        let reader = fixture.read(key)
        #expect(await waiting(fixture, 1))
        #expect(await fixture.passTime(atMost: .seconds(3)) { await fixture.engine.whoWaits().isEmpty })
        #expect(try await reader.value == .readable)
        #expect(fixture.clock.elapsed - before <= .seconds(1))
    }

    @Test("who comes while a look is under way has another at once")
    func hastenedWhileLooking() async throws {
        let fixture = try fixture()
        try await fixture.ask(key, tier: .bulk)
        let engine = fixture.engine
        let isFirst = Mutex(true)
        fixture.store.script { call throws(StoreError) in
            guard case .head = call, isFirst.withLock({ let was = $0; $0 = false; return was }) else { return }
            await engine.hasten(key, version: nil)
        }
        let heads = fixture.store.heads
        await engine.hasten(key, version: nil)
        #expect(await fixture.passTime(atMost: .seconds(3)) { fixture.store.heads == heads + 2 })
    }

    @Test("who comes to read while a look is under way that was due has another at once")
    func readWhileLooking() async throws {
        let fixture = try fixture()
        try await fixture.ask(key, tier: .bulk)
        let gate = Gate()
        fixture.store.script { call throws(StoreError) in if case .head = call { await gate.pass() } }
        await fixture.engine.hasten(key, version: nil)
        #expect(await fixture.passTime { gate.waiting == 1 })
        let reader = fixture.read(key)
        #expect(await waiting(fixture, 1))
        await fixture.settle()
        gate.open()
        #expect(await fixture.passTime(atMost: .seconds(3)) { fixture.store.heads == 2 })
        reader.cancel()
        _ = await reader.result
    }

    @Test("a reader who is told of the copy while his wish is looked up needs none")
    func toldMeanwhile() async throws {
        let fixture = try fixture()
        let (holder, isHeld) = (try ThreadHolder(fixture.readerThread), Gate())
        let holding = Task { await holder.hold(isHeld) }
        await isHeld.pass()
        let reader = fixture.read(key)
        #expect(await waiting(fixture, 1))
        await fixture.engine.tell(RestoreEngine.Identity(key: key, version: nil), .readable)
        holder.end()
        await holding.value
        #expect(try await reader.value == .readable)
        #expect(fixture.store.orders.isEmpty)
    }

    @Test("who comes while what became of a request cannot be stored is told once it is")
    func storedLater() async throws {
        let fixture = try fixture()
        try await fixture.ask(key, tier: .bulk)
        await fixture.settle()
        let database = try Connection(.file(fixture.directory.path + "/db"))
        try database.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON restore BEGIN SELECT RAISE(ABORT, 'full'); END")
        let row = try #require(try await fixture.row(key))
        let failure = RestoreEngine.Settlement(row: row, event: .failed("no"), outcome: .failed(.failed("no")))
        await fixture.engine.settle(failure)
        let reader = fixture.read(key, atMost: .seconds(60))
        #expect(await waiting(fixture, 1))
        try database.execute("DROP TRIGGER full")
        #expect(await fixture.passTime(atMost: .seconds(30)) { await fixture.engine.whoWaits().isEmpty })
        reader.cancel()
        let error = await #expect(throws: RestoreError.self) { try await reader.value }
        #expect(isCase(error, "failed"))
    }

    @Test("an Archive restore of a minute is noticed within three seconds")
    func minute() async throws {
        let fixture = try EngineFixture()
        fixture.store.put(key, class: "Archive")
        fixture.archive.takes = .seconds(60)
        let reader = fixture.read(key)
        #expect(await fixture.passTime { await fixture.engine.whoWaits().isEmpty && !fixture.store.orders.isEmpty })
        #expect(try await reader.value == .readable)
        print("an Archive restore of 60 s was noticed after \(fixture.clock.elapsed), with \(fixture.store.heads) HEADs")
        #expect(fixture.clock.elapsed >= .seconds(60) && fixture.clock.elapsed <= .seconds(63))
    }
}
