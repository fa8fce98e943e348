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

@Suite("requests for many objects")
struct TreeTests {
    /// The most that fall into any one second.
    private func most(_ times: [Duration]) -> Int {
        let times = times.sorted()
        var (most, first) = (0, 0)
        for (index, time) in times.enumerated() {
            while times[first] <= time - .seconds(1) { first += 1 }
            most = max(most, index - first + 1)
        }
        return most
    }

    @Test("a thousand objects of a tree are asked for at the lane's rate, all before any is looked at")
    func thousand() async throws {
        let fixture = try EngineFixture()
        fixture.put(1000, class: "DeepColdArchive")
        let request = try await fixture.engine.restore(below: tree, RestoreWish(days: 3), for: command)
        #expect(await fixture.passTime { fixture.archive.submissions.count == 1000 })
        let submissions = fixture.archive.submissions
        #expect(Set(submissions.map(\.key)).count == 1000)
        let times = submissions.map(\.time)
        #expect(most(times) <= 100)
        #expect((times.max() ?? .zero) < .seconds(12))
        let calls = fixture.store.calls
        let last = calls.lastIndex { if case .restore = $0 { true } else { false } } ?? 0
        #expect(calls[..<last].count { if case .restore = $0 { false } else { true } } == 1)
        await fixture.settle()
        #expect(try await fixture.request(request).tallies[.restoring]?.objects == 1000)
    }

    @Test("a thousand objects that take twelve hours cost fewer than fifty requests once they are asked for")
    func looks() async throws {
        let fixture = try EngineFixture()
        fixture.put(1000)
        fixture.archive.takes = .seconds(11 * 3600 + 1800)
        let request = try await fixture.engine.restore(below: tree, RestoreWish(days: 3, tier: .bulk), for: command)
        #expect(await fixture.passTime { fixture.archive.submissions.count == 1000 })
        fixture.store.forgetCalls()
        #expect(try await fixture.passTime { try await fixture.request(request).finishedAt != nil })
        let (lists, heads) = (fixture.store.lists.count, fixture.store.heads)
        print("1000 objects of 12 h cost \(lists) LISTs and \(heads) HEADs, and were all noticed after \(fixture.clock.elapsed)")
        #expect(lists + heads < 50)
        #expect(fixture.clock.elapsed < .seconds(12 * 3600 + 1200))
        #expect(fixture.archive.submissions.count == 1000)
        #expect(try await fixture.request(request).tallies[.restored]?.objects == 1000)
    }

    @Test("no more bytes are asked for than the provider restores in a day; what is larger than a day's goes alone")
    func bytesPerDay() async throws {
        let fixture = try EngineFixture()
        // Cold Archive: 100 TB a day.
        fixture.put(5, bytes: 40_000_000_000_000)
        _ = try await fixture.engine.restore(below: tree, RestoreWish(), for: command)
        #expect(await fixture.passTime(atMost: .seconds(3600)) { fixture.archive.submissions.count == 2 })
        await fixture.pass(.seconds(3600))
        #expect(fixture.archive.submissions.count == 2)
        let lane = try #require(await fixture.engine.laneSummaries().first)
        #expect(lane.bytesToday == 80_000_000_000_000 && lane.pauseReason != nil)
        // A small one that somebody reads fits in.
        let small = ObjectKey("small")
        fixture.store.put(small, class: "ColdArchive")
        #expect(try await fixture.ask(small, by: .reader) == .underWay)
        #expect(await fixture.passTime(atMost: .seconds(86400)) { fixture.archive.submissions.count == 5 })
        #expect(await fixture.passTime(atMost: .seconds(2 * 86400)) { fixture.archive.submissions.count == 6 })
        let days = fixture.archive.submissions.map { $0.time / .seconds(86400) }
        #expect(days[2] < 0.1 && days[3] >= 1 && days[3] < 1.1 && days[5] >= 2)

        fixture.store.put("giant", class: "DeepColdArchive")
        fixture.store.change(ObjectKey("giant")) { $0.sizeBytes = 40_000_000_000_000 }
        #expect(try await fixture.ask(ObjectKey("giant")) == .underWay)
    }

    @Test("bytes of requests that came to nothing are for others, also after a crash")
    func refund() async throws {
        let fixture = try EngineFixture()
        fixture.put(3, bytes: 40_000_000_000_000)
        fixture.store.script { call throws(StoreError) in
            guard case .restore = call else { return }
            throw StoreError(.denied, status: 403, code: "AccessDenied", message: "")
        }
        let request = try await fixture.engine.restore(below: tree, RestoreWish(), for: command)
        #expect(try await fixture.passTime(atMost: .seconds(60)) {
            try await fixture.request(request).finishedAt != nil
        })
        #expect(await fixture.engine.laneSummaries().first?.bytesToday == 0)
        let charges = try await fixture.writer.spending(of: "oss-cold-archive", since: 0)
        #expect(charges.allSatisfy { $0.bytes == 0 })
    }

    @Test("a throttled lane slows down, pauses as long as it is told, and gets everything through")
    func throttled() async throws {
        let fixture = try EngineFixture()
        fixture.put(300, class: "DeepColdArchive")
        let refusals = Mutex(40)
        fixture.store.script { call throws(StoreError) in
            guard case .restore = call else { return }
            let isRefused = refusals.withLock { left in
                left -= 1
                return left >= 0
            }
            guard isRefused else { return }
            throw StoreError(.throttled, status: 503, code: "SlowDown", message: "", retryAfter: .seconds(7))
        }
        _ = try await fixture.engine.restore(below: tree, RestoreWish(), for: command)
        #expect(await fixture.passTime { await fixture.engine.laneSummaries().contains { $0.perSecond < 100 } })
        let lane = try #require(await fixture.engine.laneSummaries().first)
        #expect(lane.pauseReason != nil && lane.perSecondMax == 100)
        #expect(await fixture.passTime(atMost: .seconds(1200)) { fixture.archive.submissions.count == 300 })
        #expect(fixture.archive.submissions.first.map { $0.time >= .seconds(7) } == true)
        #expect(fixture.store.orders.count == 340)
        let slow = await fixture.engine.laneSummaries().first?.perSecond ?? 0
        fixture.put(300, class: "DeepColdArchive", below: "other/")
        _ = try await fixture.engine.restore(below: ObjectKey("other/"), RestoreWish(), for: command)
        #expect(await fixture.passTime(atMost: .seconds(1200)) { fixture.archive.submissions.count == 600 })
        #expect(await fixture.engine.laneSummaries().first.map { $0.perSecond > slow || $0.perSecond == 100 } == true)
    }

    @Test("an object that somebody reads goes before a tree's queue")
    func readerFirst() async throws {
        let fixture = try EngineFixture()
        fixture.put(500, class: "DeepColdArchive")
        let wanted = ObjectKey("dir/0000499")
        _ = try await fixture.engine.restore(below: tree, RestoreWish(), for: command)
        #expect(await fixture.passTime { fixture.archive.submissions.count >= 20 })
        let before = fixture.archive.submissions.count
        let reader = fixture.read(wanted)
        #expect(await eventually { await fixture.engine.whoWaits().count == 1 })
        #expect(await fixture.passTime { fixture.archive.submissions.count == 500 })
        let place = fixture.archive.submissions.firstIndex { $0.key == wanted } ?? 500
        #expect(place <= before + 70)
        reader.cancel()
        _ = await reader.result
    }

    @Test("days and tier are brought within what each class takes; what needs no restore is left alone")
    func clamped() async throws {
        let fixture = try EngineFixture()
        for (name, storageClass, restore) in [
            ("dir/archive", "Archive", nil), ("dir/cold", "ColdArchive", nil), ("dir/deep", "DeepColdArchive", nil),
            ("dir/hot", "Standard", nil), ("dir/marker/", "Archive", nil), ("dir/theirs", "ColdArchive", .ongoing),
            ("dir/there", "ColdArchive", .restored(until: fixture.clock.date + .seconds(90 * 86400))),
            ("dir/short", "ColdArchive", .restored(until: fixture.clock.date + .seconds(86400))),
            ("elsewhere", "Archive", nil),
        ] as [(String, String, RestoreHeader?)] {
            fixture.store.put(name, name.hasSuffix("/") ? [] : [1], class: storageClass, restore: restore)
        }
        let wish = RestoreWish(days: 30, tier: .bulk)
        let request = try await fixture.engine.restore(below: tree, wish, for: command)
        #expect(await fixture.passTime { fixture.store.orders.count == 4 })
        await fixture.settle()
        var orders: [String: RestoreOrder] = [:]
        for call in fixture.store.calls { if case .restore(let key, let order) = call { orders["\(key)"] = order } }
        #expect(orders == [
            "dir/archive": RestoreOrder(days: 7, tier: nil), "dir/cold": RestoreOrder(days: 30, tier: .bulk),
            "dir/deep": RestoreOrder(days: 30, tier: .standard), "dir/short": RestoreOrder(days: 30, tier: .bulk),
        ])
        let summary = try await fixture.request(request)
        #expect(summary.tallies[.restoring]?.objects == 4 || summary.tallies[.restoring]?.objects == 5)
        #expect(summary.wish == wish && summary.target == "dir/" && !summary.isCollecting)
    }

    @Test("single objects, directories and trees go together; a directory leaves out what is below it")
    func scopes() async throws {
        let fixture = try EngineFixture()
        for key in ["a/1", "a/b/2", "t/1", "t/u/2", "x", "y"] { fixture.store.put(key, class: "ColdArchive") }
        let request = try await fixture.engine.begin(RestoreWish(), target: "4 files", for: command)
        try await fixture.engine.add(
            [RestoreScope(.object, ObjectKey("x")), RestoreScope(.object, ObjectKey("missing"))], to: request)
        try await fixture.engine.add(
            [RestoreScope(.directory, ObjectKey("a/")), RestoreScope(.tree, ObjectKey("t/"))], to: request)
        await fixture.settle()
        #expect(fixture.store.calls.isEmpty)
        try await fixture.engine.commit(request)
        #expect(await fixture.passTime { fixture.archive.submissions.count == 4 })
        await fixture.settle()
        #expect(fixture.archive.submissions.map { "\($0.key)" }.sorted() == ["a/1", "t/1", "t/u/2", "x"])
        #expect(try await fixture.request(request).isCollecting == false)
    }

    @Test("a request for nothing, or for what needs no restore, is finished; one that is given up leaves nothing")
    func nothing() async throws {
        let fixture = try EngineFixture()
        fixture.store.put("dir/hot")
        let bare = try await fixture.engine.begin(RestoreWish(), target: "", for: command)
        try await fixture.engine.commit(bare)
        let hot = try await fixture.engine.restore(below: tree, RestoreWish(), for: command)
        for request in [bare, hot] {
            #expect(try await fixture.passTime { try await fixture.request(request).finishedAt != nil })
        }
        let idle = try await fixture.engine.begin(RestoreWish(), target: "", for: command)
        await fixture.engine.abandon(idle)
        #expect(try await fixture.engine.request(idle) == nil)
    }

    @Test("a listing that fails or is denied for a while is gone on with, one that can never be had ends the request")
    func failingListing() async throws {
        let fixture = try EngineFixture()
        fixture.put(30)
        fixture.store.paginate(by: 10)
        let kind = Mutex<StoreError.Kind?>(.unavailable)
        fixture.store.script { call throws(StoreError) in
            guard case .list(let request) = call else { return }
            guard request.continuationToken != nil || request.startAfter != nil else { return }
            if let kind = kind.withLock({ $0 }) { throw StoreError(kind, status: 500, code: "Oops", message: "") }
        }
        let request = try await fixture.engine.restore(below: tree, RestoreWish(), for: command)
        await fixture.pass(.seconds(60))
        #expect(fixture.archive.submissions.count == 10)
        #expect(try await fixture.request(request).isCollecting)
        kind.withLock { $0 = nil }
        #expect(await fixture.passTime(atMost: .seconds(60)) { fixture.archive.submissions.count == 30 })
        #expect(fixture.store.lists.count { $0.continuationToken == nil && $0.startAfter == nil } == 1)
        kind.withLock { $0 = .denied }
        fixture.put(30, below: "denied/")
        let denied = try await fixture.engine.restore(below: ObjectKey("denied/"), RestoreWish(), for: command)
        await fixture.pass(.seconds(60))
        #expect(try await fixture.request(denied).isCollecting)
        kind.withLock { $0 = nil }
        #expect(await fixture.passTime(atMost: .seconds(60)) { fixture.archive.submissions.count == 60 })
        kind.withLock { $0 = .noSuchBucket }
        fixture.put(30, below: "other/")
        let refused = try await fixture.engine.restore(below: ObjectKey("other/"), RestoreWish(), for: command)
        #expect(try await fixture.passTime(atMost: .seconds(60)) { try await !fixture.request(refused).isCollecting })
        let ended = try await fixture.request(refused)
        #expect(ended.error?.contains("Oops") == true && ended.isIncomplete)
        #expect(await fixture.passTime(atMost: .seconds(60)) { fixture.archive.submissions.count == 70 })
    }

    @Test("requests that cannot be looked through, however many, hold up no other")
    func deniedListings() async throws {
        let fixture = try EngineFixture()
        fixture.put(1)
        fixture.store.script { call throws(StoreError) in
            guard case .list(let request) = call, request.prefix.hasPrefix(ObjectKey("bad/")) else { return }
            throw StoreError(.denied, status: 403, code: "AccessDenied", message: "")
        }
        for index in 0..<8 {
            _ = try await fixture.engine.restore(below: ObjectKey("bad/\(index)/"), RestoreWish(), for: command)
        }
        _ = try await fixture.engine.restore(below: tree, RestoreWish(), for: command)
        await fixture.pass(.seconds(60))
        #expect(fixture.archive.submissions.count == 1)
        #expect(Set(fixture.store.lists.map(\.prefix)).count == 9)
    }

    @Test("of many, one whose request does not get through is asked for again as long as it takes; others are not held up")
    func failing() async throws {
        let fixture = try EngineFixture()
        let keys = fixture.put(5)
        fixture.store.script { call throws(StoreError) in
            guard case .restore(let key, _) = call else { return }
            if key == keys[1] { throw StoreError(.unavailable, status: 500, code: "InternalError", message: "") }
            if key == keys[3] { throw StoreError(.denied, status: 403, code: "AccessDenied", message: "") }
        }
        let request = try await fixture.engine.restore(below: tree, RestoreWish(), for: command)
        #expect(await fixture.passTime { fixture.store.orders.count >= 14 })
        let tallies = try await fixture.request(request).tallies
        #expect(tallies[.restoring]?.objects == 3 && tallies[.failed]?.objects == 1 && tallies[.queued]?.objects == 1)
        fixture.store.script { [archive = fixture.archive] _ throws(StoreError) in archive.finish() }
        #expect(await fixture.passTime { fixture.archive.submissions.count == 4 })
        for key in keys { fixture.archive.finish(key) }
        #expect(try await fixture.passTime { try await fixture.request(request).finishedAt != nil })
        let ended = try await fixture.request(request)
        #expect(ended.tallies[.restored]?.objects == 4 && ended.tallies[.failed]?.objects == 1)
        #expect(ended.error?.contains("AccessDenied") == true)
    }
}
