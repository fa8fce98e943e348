import Metadata
import ObjectStore
import Synchronization
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Restore

private let key = ObjectKey("dir/file")

@Suite("copies that are to stay")
struct RenewalTests {
    private func until(_ fixture: EngineFixture) -> Timestamp {
        guard case .restored(let until?) = fixture.store.record(key)?.restore else { return .epoch }
        return until
    }

    private func fixture(copyFor duration: Duration) throws -> (EngineFixture, RestoreTarget, Timestamp) {
        let fixture = try EngineFixture()
        let end = fixture.clock.date + duration
        fixture.store.put(key, class: "ColdArchive", restore: .restored(until: end))
        return (fixture, try fixture.target(key), end)
    }

    @Test("a copy that is open is asked for again an hour before its end, and again, until it is closed")
    func held() async throws {
        let (fixture, target, end) = try fixture(copyFor: .seconds(2 * 86400))
        fixture.engine.hold(target, until: end)
        fixture.engine.hold(target, until: end)
        #expect(await fixture.passTime(atMost: .seconds(3 * 86400)) { fixture.archive.submissions.count == 1 })
        await fixture.settle()
        #expect(fixture.clock.elapsed == .seconds(2 * 86400 - 3600))
        #expect(until(fixture) == end + .seconds(86400 - 3600))
        fixture.engine.release(key, version: nil)
        #expect(await fixture.passTime(atMost: .seconds(3 * 86400)) { fixture.archive.submissions.count == 2 })
        await fixture.settle()
        fixture.engine.release(key, version: nil)
        await fixture.pass(.seconds(5 * 86400))
        #expect(fixture.archive.submissions.count == 2)
        #expect(fixture.store.orders.allSatisfy { $0.days == 1 })
    }

    @Test("a copy that is closed leaves nothing behind that waits for its end")
    func closed() async throws {
        let (fixture, target, end) = try fixture(copyFor: .seconds(86400))
        fixture.engine.hold(target, until: end)
        #expect(await eventually { fixture.clock.manual.nextWakeup != nil })
        fixture.engine.release(key, version: nil)
        #expect(await eventually { fixture.clock.manual.nextWakeup == nil })
        fixture.engine.release(key, version: nil)
    }

    @Test("a copy that somebody else has had last longer meanwhile is renewed before its new end")
    func extendedMeanwhile() async throws {
        let (fixture, target, end) = try fixture(copyFor: .seconds(86400))
        fixture.engine.hold(target, until: end)
        #expect(try await fixture.ask(key, days: 10) == .readable)
        await fixture.pass(.seconds(8 * 86400))
        #expect(fixture.archive.submissions.count == 1)
        await fixture.pass(.seconds(2 * 86400))
        #expect(fixture.archive.submissions.count == 2)
        fixture.engine.release(key, version: nil)
    }

    @Test("a copy that cannot last longer is asked for once and no more")
    func atTheMaximum() async throws {
        let (fixture, target, end) = try fixture(copyFor: .seconds(86400))
        fixture.archive.daysMax = 0
        fixture.engine.hold(target, until: end)
        await fixture.pass(.seconds(3 * 86400))
        #expect(fixture.archive.submissions.count == 1 && until(fixture) == end)
        fixture.engine.release(key, version: nil)
    }

    @Test("a renewal that the store failed to take at first is not the last")
    func heldAfterError() async throws {
        let (fixture, target, end) = try fixture(copyFor: .seconds(86400))
        let isFirst = Mutex(true)
        fixture.store.script { call throws(StoreError) in
            guard case .restore = call, isFirst.withLock({ let was = $0; $0 = false; return was }) else { return }
            throw StoreError(.unavailable, status: 500, code: "InternalError", message: "")
        }
        fixture.engine.hold(target, until: end)
        await fixture.pass(.seconds(2 * 86400))
        #expect(fixture.archive.submissions.count == 2)
        fixture.engine.release(key, version: nil)
    }

    @Test("a renewal that is refused after it was put off is tried again before the copy's end")
    func refusedLater() async throws {
        let (fixture, target, end) = try fixture(copyFor: .seconds(86400))
        let refusals = Mutex(0)
        fixture.store.script { call throws(StoreError) in
            guard case .restore = call else { return }
            let count = refusals.withLock { $0 += 1; return $0 }
            if count == 1 { throw StoreError(.throttled, status: 503, code: "SlowDown", message: "") }
            if count == 2 { throw StoreError(.denied, status: 403, code: "AccessDenied", message: "") }
        }
        fixture.engine.hold(target, until: end)
        await fixture.pass(.seconds(86400 - 60))
        #expect(fixture.archive.submissions.count == 1)
        fixture.engine.release(key, version: nil)
    }

    @Test("a copy that is closed while the store is asked about it is not asked for again")
    func closedMeanwhile() async throws {
        let (fixture, target, end) = try fixture(copyFor: .seconds(86400))
        let engine = fixture.engine
        fixture.store.script { call throws(StoreError) in
            if case .head = call { engine.release(key, version: nil) }
        }
        fixture.engine.hold(target, until: end)
        await fixture.pass(.seconds(86400 - 60))
        #expect(fixture.store.heads == 1 && fixture.store.orders.isEmpty)
    }

    @Test("a copy that was given up is not renewed; another is, until the file is closed by all who have it open")
    func givenUp() async throws {
        let (fixture, target, end) = try fixture(copyFor: .seconds(2 * 86400))
        fixture.engine.hold(target, until: end)
        fixture.store.change(key) { $0.restore = nil }
        await fixture.engine.forgetCopy(of: key, version: nil)
        await fixture.pass(.seconds(3 * 86400))
        #expect(fixture.store.calls.isEmpty)
        let again = fixture.clock.date + .seconds(2 * 86400)
        fixture.archive.finish(key, until: again)
        fixture.engine.hold(try fixture.target(key), until: again)
        fixture.engine.release(key, version: nil)
        await fixture.pass(.seconds(2 * 86400))
        #expect(fixture.archive.submissions.count == 1)
        fixture.engine.release(key, version: nil)
        await fixture.pass(.seconds(3 * 86400))
        #expect(fixture.archive.submissions.count == 1)
    }

    /// A request for one object that is quick and one that is slow.
    private func request(_ fixture: EngineFixture, days: Int) async throws -> Int64 {
        fixture.store.put("dir/slow", class: "DeepColdArchive")
        fixture.store.put("dir/quick", class: "Archive")
        let request = try await fixture.engine.restore(
            below: ObjectKey("dir/"), RestoreWish(days: days), for: Requester(.command, ""))
        #expect(await fixture.passTime { fixture.archive.submissions.count == 2 })
        fixture.archive.finish(ObjectKey("dir/quick"), until: fixture.clock.date + .seconds(days * 86400))
        return request
    }

    @Test("a copy that an unfinished request wants is renewed, for as long as the request goes on")
    func wanted() async throws {
        let fixture = try EngineFixture()
        let request = try await request(fixture, days: 1)
        await fixture.pass(.seconds(2 * 86400))
        let quick = fixture.archive.submissions.filter { $0.key == ObjectKey("dir/quick") }.map(\.time)
        #expect(quick.count == 3)
        #expect(try await fixture.request(request).tallies[.restored]?.objects == 1)
        fixture.archive.finish(ObjectKey("dir/slow"))
        #expect(try await fixture.passTime { try await fixture.request(request).finishedAt != nil })
        let count = fixture.archive.submissions.count
        await fixture.pass(.seconds(3 * 86400))
        #expect(fixture.archive.submissions.count == count)
    }

    @Test("a wanted copy that lasts no longer for being asked for is left to its end")
    func wantedAtTheMaximum() async throws {
        let fixture = try EngineFixture()
        let request = try await request(fixture, days: 1)
        fixture.archive.daysMax = 0
        await fixture.pass(.seconds(3 * 86400))
        #expect(fixture.archive.submissions.count == 3)
        #expect(try await fixture.request(request).finishedAt == nil)
        #expect(try await fixture.request(request).tallies[.restored]?.objects == 1)
    }

    @Test("a copy that lapsed all the same is frozen, and a read has it restored again")
    func lapsed() async throws {
        let (fixture, target, end) = try fixture(copyFor: .seconds(86400))
        fixture.engine.hold(target, until: end)
        fixture.store.change(key) { $0.restore = nil }
        fixture.archive.takes = .seconds(3 * 3600)
        let reader = fixture.read(key)
        #expect(await fixture.passTime { await fixture.engine.whoWaits().isEmpty && fixture.store.orders.count == 1 })
        #expect(try await reader.value == .readable)
        fixture.engine.release(key, version: nil)
    }
}
