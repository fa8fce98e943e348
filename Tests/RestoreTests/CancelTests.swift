import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Restore

private let command = Requester(.command, "setfattr[1] uid 0")

@Suite("cancelling")
struct CancelTests {
    private func waiting(_ fixture: EngineFixture, _ count: Int) async -> Bool {
        await eventually { await fixture.engine.whoWaits().count == count }
    }

    @Test("a cancelled object fails who waits for it, and nothing looks at it any more")
    func object() async throws {
        let fixture = try EngineFixture()
        let key = fixture.put(1)[0]
        try await fixture.ask(key)
        let readers = [fixture.read(key), fixture.read(key)]
        #expect(await waiting(fixture, 2))
        await fixture.settle()
        try await fixture.engine.cancel(key, version: nil)
        for reader in readers {
            let error = await #expect(throws: RestoreError.self) { try await reader.value }
            #expect(isCase(error, "cancelled"))
        }
        #expect(try await fixture.row(key) == nil)
        #expect(try await fixture.engine.requests().allSatisfy { $0.finishedAt != nil })
        fixture.store.forgetCalls()
        await fixture.pass(.seconds(86400))
        #expect(fixture.store.calls.isEmpty)
        let error = await #expect(throws: RestoreError.self) { try await fixture.engine.cancel(key, version: nil) }
        #expect(isCase(error, "nothingToCancel"))
        #expect(try await fixture.ask(key) == .underWay)
    }

    @Test("an object that is cancelled while its request is on its way stays out of care")
    func onItsWay() async throws {
        let fixture = try EngineFixture()
        let key = fixture.put(1)[0]
        let gate = Gate()
        fixture.store.script { call throws(StoreError) in if case .restore = call { await gate.pass() } }
        let reader = fixture.read(key)
        #expect(await eventually { gate.waiting == 1 })
        try await fixture.engine.cancel(key, version: nil)
        let error = await #expect(throws: RestoreError.self) { try await reader.value }
        #expect(isCase(error, "cancelled"))
        gate.open()
        await fixture.pass(.seconds(3600))
        #expect(try await fixture.row(key) == nil)
        #expect(fixture.store.heads == 0)
    }

    @Test("a cancelled tree drops what is queued, fails who waits there, and lets the rest go on")
    func tree() async throws {
        let fixture = try EngineFixture()
        fixture.put(300, class: "DeepColdArchive")
        let other = fixture.put(1, below: "other/")[0]
        let request = try await fixture.engine.restore(below: ObjectKey("dir/"), RestoreWish(), for: command)
        #expect(await fixture.passTime { fixture.archive.submissions.count >= 50 })
        let (inside, outside) = (fixture.read(ObjectKey("dir/0000000")), fixture.read(other))
        #expect(await waiting(fixture, 2))
        await fixture.settle()
        try await fixture.engine.cancelQueued(below: ObjectKey("dir/"))
        let error = await #expect(throws: RestoreError.self) { try await inside.value }
        #expect(isCase(error, "cancelled"))
        await fixture.pass(.seconds(30))
        let asked = fixture.archive.submissions.count { $0.key != other }
        #expect(asked >= 50 && asked < 300)
        let tallies = try await fixture.request(request).tallies
        #expect(tallies[.cancelled]?.objects == 300 - asked && tallies[.restoring]?.objects == asked)
        fixture.archive.finish(other)
        #expect(await fixture.passTime { await fixture.engine.whoWaits().isEmpty })
        #expect(try await outside.value == .readable)
        let again = await #expect(throws: RestoreError.self) {
            try await fixture.engine.cancelQueued(below: ObjectKey("nowhere/"))
        }
        #expect(isCase(again, "nothingToCancel"))
    }

    @Test("who came just before the cancel does not bring back what it drops",
        arguments: [RestoreOrigin.reader, .command])
    func besideWish(of origin: RestoreOrigin) async throws {
        let fixture = try EngineFixture()
        let key = fixture.put(1)[0]
        let refusals = Gate()
        fixture.store.script { call throws(StoreError) in
            guard case .restore = call else { return }
            refusals.open()
            throw StoreError(.throttled, code: "SlowDown", message: "")
        }
        _ = try await fixture.engine.restore(below: ObjectKey("dir/"), RestoreWish(), for: command)
        await refusals.pass()
        await fixture.settle()
        let row = try #require(try await fixture.row(key))
        #expect(row.state == .queued && row.isOneOfMany)
        // The cancel is the first for the writer's thread, the wish the next: for a reader it is still queued.
        let (isHeld, release) = (Gate(), try Wakeup())
        let holding = Task {
            try await fixture.writer.change([(row.id, ())], at: fixture.clock.date) { row, _ in
                isHeld.open()
                release.wait()
                return row
            }
        }
        await isHeld.pass()
        let cancel = Task.immediate { try await fixture.engine.cancelQueued(below: ObjectKey("dir/")) }
        _ = await fixture.engine.whoWaits()
        let reader = Task { try await fixture.ask(key, by: origin, until: .copy(until: nil)) }
        #expect(await waiting(fixture, 1))
        for _ in 0..<3 {
            _ = try await fixture.row(key)
            _ = await fixture.engine.whoWaits()
        }
        release.signal()
        _ = try await holding.value
        try await cancel.value
        let error = await #expect(throws: RestoreError.self) { try await reader.value }
        #expect(isCase(error, "cancelled"))
        await fixture.settle()
        #expect(try await fixture.row(key) == nil)
    }

    @Test("a copy that is given up fails who has come for another")
    func givenUp() async throws {
        let fixture = try EngineFixture()
        let key = fixture.put(1)[0]
        try await fixture.ask(key)
        let reader = fixture.read(key)
        #expect(await waiting(fixture, 1))
        await fixture.settle()
        await fixture.engine.forgetCopy(of: key, version: nil)
        #expect(await waiting(fixture, 0))
        reader.cancel()
        let error = await #expect(throws: RestoreError.self) { try await reader.value }
        #expect(isCase(error, "cancelled"))
        #expect(try await fixture.row(key) == nil)
    }

    @Test("what a read was charged for and the provider never took is given back along with the copy")
    func givenUpRefund() async throws {
        let fixture = try EngineFixture { $0.budget = RestoreBudget(bytes: 100, window: .seconds(86400)) }
        let keys = fixture.put(2, bytes: 60)
        fixture.store.script { call throws(StoreError) in
            guard case .restore(keys[0], _) = call else { return }
            throw StoreError(.throttled, status: 503, code: "SlowDown", message: "")
        }
        #expect(try await fixture.ask(keys[0], by: .reader) == .underWay)
        await fixture.settle()
        #expect(try await fixture.row(keys[0])?.state == .queued)
        await fixture.engine.forgetCopy(of: keys[0], version: nil)
        let other = Task { try await fixture.ask(keys[1], by: .reader) }
        await fixture.pass(.seconds(60))
        #expect(try await other.value == .underWay)
    }

    @Test("a tree that is cancelled while it is listed is listed no further")
    func collecting() async throws {
        let fixture = try EngineFixture()
        fixture.put(100)
        fixture.store.paginate(by: 10)
        let gate = Gate()
        fixture.store.script { [store = fixture.store] call throws(StoreError) in
            if case .list = call, store.lists.count == 3 { await gate.pass() }
        }
        let request = try await fixture.engine.restore(below: ObjectKey("dir/"), RestoreWish(), for: command)
        #expect(await fixture.passTime { gate.waiting == 1 && fixture.archive.submissions.count == 20 })
        _ = try? await fixture.engine.cancelQueued(below: ObjectKey("dir/"))
        gate.open()
        await fixture.pass(.seconds(60))
        #expect(fixture.store.lists.count == 3 && fixture.archive.submissions.count == 20)
        #expect(try await fixture.request(request).isCollecting == false)
    }
}
