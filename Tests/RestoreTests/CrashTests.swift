import Metadata
import ObjectStore
import Synchronization
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Restore

private let tree = ObjectKey("dir/")
private let command = Requester(.command, "setfattr[1] uid 0")

@Suite("after a crash")
struct CrashTests {
    @Test("a tree that was being listed is listed on from where it was, and every object is asked for once")
    func collecting() async throws {
        let before = try EngineFixture()
        before.put(100)
        before.store.paginate(by: 10)
        let gate = Gate()
        before.store.script { [store = before.store] call throws(StoreError) in
            if case .list = call, store.lists.count == 5 { await gate.pass() }
        }
        let request = try await before.engine.restore(below: tree, RestoreWish(), for: command)
        #expect(await before.passTime { before.archive.submissions.count == 40 && gate.waiting == 1 })
        let after = try await before.afterCrash()
        gate.open()
        after.store.forgetCalls()
        try await after.engine.resume()
        #expect(await after.passTime { after.archive.submissions.count == 100 })
        await after.pass(.seconds(60))
        #expect(Set(after.archive.submissions.map(\.key)).count == 100 && after.archive.submissions.count == 100)
        #expect(after.store.lists.first?.startAfter == ObjectKey("dir/0000039"))
        #expect(try await after.request(request).tallies[.restoring]?.objects == 100)
    }

    @Test("what was queued is asked for, once")
    func queued() async throws {
        let before = try EngineFixture()
        before.put(50)
        before.store.script { call throws(StoreError) in
            guard case .restore = call else { return }
            throw StoreError(.throttled, status: 503, code: "SlowDown", message: "", retryAfter: .seconds(3600))
        }
        let request = try await before.engine.restore(below: tree, RestoreWish(), for: command)
        #expect(try await before.passTime {
            try await before.request(request).tallies[.queued]?.objects == 50 && !before.store.orders.isEmpty
        })
        let after = try await before.afterCrash()
        after.store.script { _ throws(StoreError) in }
        try await after.engine.resume()
        #expect(await after.passTime { after.archive.submissions.count == 50 })
        await after.pass(.seconds(60))
        #expect(after.archive.submissions.count == 50)
    }

    @Test("what was on its way is looked at first: one request reaches the provider in all",
        arguments: [Line.Hold.requests, .replies], [1, 20])
    func asking(hold: Line.Hold, count: Int) async throws {
        let before = try EngineFixture()
        let keys = before.put(count)
        before.line.hold(hold)
        let request = try await before.engine.restore(below: tree, RestoreWish(), for: command)
        #expect(await before.passTime { before.line.heldCount == count })
        #expect(before.archive.submissions.count == (hold == .replies ? count : 0))
        let after = try await before.afterCrash()
        #expect(try await after.row(keys[0])?.state == .asking)
        try await after.engine.resume()
        #expect(try await after.passTime { try await after.request(request).tallies[.restoring]?.objects == count })
        #expect(after.archive.submissions.count == count)
        for key in keys { after.archive.finish(key) }
        #expect(try await after.passTime { try await after.request(request).finishedAt != nil })
        #expect(after.archive.submissions.count == count)
    }

    @Test("a request for more days, or a faster tier, that did not reach the provider is made again",
        arguments: [Line.Hold.requests, .replies])
    func askingForMore(hold: Line.Hold) async throws {
        let before = try EngineFixture()
        let keys = before.put(2)
        before.archive.finish(keys[0], until: before.clock.date + .seconds(86400))
        try await before.ask(keys[1], tier: .bulk)
        before.line.hold(hold)
        let askers = [
            Task { try await before.ask(keys[0], days: 30) }, Task { try await before.ask(keys[1], tier: .expedited) },
        ]
        #expect(await before.passTime { before.line.heldCount == 2 })
        let after = try await before.afterCrash()
        try await after.engine.resume()
        #expect(try await after.passTime { try await after.row(keys[1])?.state == .restoring })
        #expect(try await after.passTime { try await after.row(keys[0]) == nil })
        let orders = after.store.orders
        #expect(orders.contains(RestoreOrder(days: 3, tier: .expedited)))
        guard case .restored(let until?) = after.store.record(keys[0])?.restore else {
            Issue.record("not restored")
            return
        }
        #expect(until > after.clock.date + .seconds(29 * 86400))
        for asker in askers {
            asker.cancel()
            _ = await asker.result
        }
    }

    @Test("what the provider was at work on is looked at again, and not asked for", arguments: [1, 30])
    func restoring(count: Int) async throws {
        let before = try EngineFixture()
        before.put(count)
        before.archive.takes = .seconds(4 * 3600)
        let request = try await before.engine.restore(below: tree, RestoreWish(), for: command)
        #expect(try await before.passTime { try await before.request(request).tallies[.restoring]?.objects == count })
        let after = try await before.afterCrash()
        try await after.engine.resume()
        let reader = after.read(ObjectKey("dir/0000000"))
        #expect(try await after.passTime { try await after.request(request).finishedAt != nil })
        #expect(try await reader.value == .readable)
        #expect(after.archive.submissions.count == count)
    }

    @Test("what reads have spent still counts")
    func budget() async throws {
        let configure: (inout RestoreEngine.Settings) -> Void = { settings in
            settings.budget = RestoreBudget(bytes: 100, window: .seconds(86400))
        }
        let before = try EngineFixture(.oss, configure)
        let keys = before.put(2, bytes: 60)
        #expect(try await before.ask(keys[0], by: .reader) == .underWay)
        let after = try await before.afterCrash()
        try await after.engine.resume()
        let error = await #expect(throws: RestoreError.self) { try await after.ask(keys[1], by: .reader) }
        #expect(isCase(error, "overBudget"))
    }
}
